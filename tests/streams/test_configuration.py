import pytest
import yaml

from streams.configuration import Configuration, load_configuration, masked
from streams.errors import ConfigurationFileError

SECRET = "whsec_" + "A" * 43 + "="
BASE = {
    "source": {"kind": "kafka", "bootstrap": ["localhost:9092"]},
    "streams": [{"name": "pumps", "topic": "plant", "step": "1s"}],
}


def write(tmp_path, document):
    path = tmp_path / "tsad.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def test_defaults_and_durations(tmp_path):
    configuration = load_configuration(write(tmp_path, BASE))

    stream = configuration.numeric_streams[0]
    assert stream.step == 1.0
    assert stream.history.keep == "notable"
    assert [d.name for d in stream.detectors] == ["auto"]
    assert configuration.http.host == "127.0.0.1"
    assert configuration.commit.every == 1.0


def test_is_frozen(tmp_path):
    configuration = load_configuration(write(tmp_path, BASE))
    with pytest.raises(ValueError, match="frozen"):
        configuration.commit = None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"streams": []}, r"streams: Tuple should have at least 1 item"),
        ({"streams": [{"name": "a", "topic": "t"}]}, r"streams\[0\]\.step: Field required"),
        (
            {"streams": [{"name": "a", "topic": "t", "step": "1s", "treshold": 3}]},
            r"streams\[0\]\.treshold: there is no such key",
        ),
        ({"streams": [{"name": "a", "topic": "t", "step": "soon"}]}, r"streams\[0\]\.step: 'soon' is not a duration"),
        ({"streams": [{"name": "a", "topic": "t", "step": 1, "detectors": ["lof"]}]}, r"no detector 'lof'"),
        (
            {
                "streams": [
                    {"name": "a", "topic": "t", "step": 1, "detectors": [{"name": "robust", "options": {"k": 1}}]}
                ]
            },
            "has no option 'k'",
        ),
        ({"streams": [BASE["streams"][0]] * 2}, "the name 'pumps' stands twice"),
        ({"source": {"kind": "carrier-pigeon"}}, r"source: Input tag 'carrier-pigeon'"),
        ({"source": {"kind": "kafka", "bootstrap": []}}, r"source\.bootstrap"),
        (
            {"http": {"host": "0.0.0.0"}},
            r"http: http\.host is '0\.0\.0\.0', which others reach, and http\.tokens names",
        ),
        ({"commit": {"every": 0}}, r"commit\.every: Input should be greater than 0"),
        ({"webhooks": [{"name": "w", "url": "ftp://x", "secrets": [SECRET]}]}, "url must be http"),
        ({"webhooks": [{"name": "w", "url": "http://x/y", "secrets": ["hunter2"]}]}, r"secrets\[0\]"),
        (
            {"streams": [{**BASE["streams"][0], "channels": ["a"], "message": {"unknown": {"channel": "learn"}}}]},
            "channels are declared",
        ),
        (
            {"streams": [{**BASE["streams"][0], "message": {"unknown": {"asset": "ignore"}}}]},
            r"message\.assets names none",
        ),
        ({"nonsense": 1}, "nonsense: there is no such key"),
    ],
)
def test_wrong_keys_are_named(tmp_path, change, problem):
    with pytest.raises(ConfigurationFileError, match=problem):
        load_configuration(write(tmp_path, BASE | change))


def test_every_problem_gets_a_line(tmp_path):
    document = BASE | {"commit": {"every": -1, "rows": 0}}
    with pytest.raises(ConfigurationFileError) as error:
        load_configuration(write(tmp_path, document))

    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a: [", "is not YAML"), ("- 1", "holds no keys"), ("", "holds no keys"), (None, "cannot be read")],
)
def test_unreadable_files(tmp_path, text, problem):
    path = tmp_path / "none.yaml" if text is None else write(tmp_path, text)
    with pytest.raises(ConfigurationFileError, match=problem):
        load_configuration(path)


def webhook_document():
    hook = {"name": "w", "url": "https://example.invalid/hooks/${TOKEN}", "secrets": ["${SECRET}"]}
    source = {"kind": "kafka", "bootstrap": ["x:1"], "options": {"sasl_plain_password": "${PASSWORD}"}}
    return BASE | {"webhooks": [hook], "source": source}


def test_secrets_come_from_the_environment_and_are_masked(tmp_path):
    environment = {"SECRET": SECRET, "TOKEN": "tok-123", "PASSWORD": "pass-123"}
    configuration = load_configuration(write(tmp_path, webhook_document()), environment)

    assert configuration.webhooks[0].endpoint().secrets == (SECRET,)
    shown = str(masked(configuration)) + repr(configuration.webhooks[0])
    for secret in environment.values():
        assert secret not in shown


def test_missing_environment_variables_are_named(tmp_path):
    with pytest.raises(ConfigurationFileError, match=r"webhooks\[0\]\.secrets\[0\]: the environment variable SECRET"):
        load_configuration(write(tmp_path, webhook_document()), {"TOKEN": "x", "PASSWORD": "y"})


def test_a_wrong_secret_is_not_printed(tmp_path):
    with pytest.raises(ConfigurationFileError) as error:
        load_configuration(write(tmp_path, webhook_document()), {"SECRET": "hunter2", "TOKEN": "t", "PASSWORD": "p"})

    assert "hunter2" not in str(error.value)


def test_paths_are_taken_from_the_folder_of_the_file(tmp_path):
    document = BASE | {"history": {"path": "h.duckdb"}, "source": {"kind": "file", "path": "r.jsonl", "topic": "plant"}}
    configuration = load_configuration(write(tmp_path, document))

    assert configuration.history.path == tmp_path / "h.duckdb"
    assert configuration.source.path == tmp_path / "r.jsonl"


def test_every_setting_is_documented_by_the_schema():
    assert Configuration.model_json_schema()["properties"].keys() >= {"source", "streams", "history", "webhooks"}
