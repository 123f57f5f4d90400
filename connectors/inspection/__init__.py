"""Results of image inspection: one record an image, checked, and what other software's results become."""

from connectors.errors import BadInspectionError
from connectors.inspection.record import InspectionRecord, decode_inspection, inspection_schema

__all__ = ["BadInspectionError", "InspectionRecord", "decode_inspection", "inspection_schema"]
