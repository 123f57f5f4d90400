"""A simulated plant with labelled faults: what detectors are trained, tested and demonstrated on.

Pure functions of their settings and seed: no files, no network, no wall clock. See `docs/simulator.md`.
"""

from tsad.simulation.access_events import AccessSettings
from tsad.simulation.faults import Fault, FaultKind
from tsad.simulation.hpc_node import NODE_METRICS, REGIMES, HpcNodeSettings
from tsad.simulation.inspection import InspectionSettings
from tsad.simulation.messages import Message, messages
from tsad.simulation.plant import PlantSettings, default_faults, simulate
from tsad.simulation.pump_skid import PUMP_CHANNELS, PumpSkidSettings
from tsad.simulation.recording import AccessRecording, InspectionRecording, PlantRecording, SensorRecording

__all__ = [
    "NODE_METRICS",
    "PUMP_CHANNELS",
    "REGIMES",
    "AccessRecording",
    "AccessSettings",
    "Fault",
    "FaultKind",
    "HpcNodeSettings",
    "InspectionRecording",
    "InspectionSettings",
    "Message",
    "PlantRecording",
    "PlantSettings",
    "PumpSkidSettings",
    "SensorRecording",
    "default_faults",
    "messages",
    "simulate",
]
