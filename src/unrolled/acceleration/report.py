"""What `accelerate` says of a model, in words."""

from dataclasses import dataclass, field

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """Which recurrent layers of a model run on kernels, and which were left alone and why.

    Layers are named as `named_modules` names them; the model itself is "".

    Args:
        on_kernels: What each layer is, by its name.
        left_alone: Why each layer runs as it did, by its name.
    """

    on_kernels: dict[str, str] = field(default_factory=dict)
    left_alone: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return one line for each layer."""
        if not self.on_kernels and not self.left_alone:
            return "no recurrent layer of torch in this model"
        lines = []
        for title, layers in (("on kernels", self.on_kernels), ("left alone", self.left_alone)):
            if layers:
                lines.append(f"{title}: {len(layers)}")
                lines += [f"  {name or 'the model'}: {words}" for name, words in layers.items()]
        return "\n".join(lines)
