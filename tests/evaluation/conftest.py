from hypothesis import settings

# The first call of a kernel compiles it, and naive twins are slow on purpose: time says nothing here.
settings.register_profile("evaluation", deadline=None)
settings.load_profile("evaluation")
