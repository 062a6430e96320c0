from .claims import Claims, Holder
from .gather import Comparison, gather
from .options import CompareOptions
from .origin import Origin, check_origins
from .page import page, save_page, table
from .plan import Contestant, Plan, Trial, parse_contestants
from .runner import Failure, Runner
from .verdict import verdict

__all__ = [
    "Claims",
    "CompareOptions",
    "Comparison",
    "Contestant",
    "Failure",
    "Holder",
    "Origin",
    "Plan",
    "Runner",
    "Trial",
    "check_origins",
    "gather",
    "page",
    "parse_contestants",
    "save_page",
    "table",
    "verdict",
]
