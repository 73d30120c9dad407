"""What the pretraining methods of ecg-selfsupervised kept beside their encoder, as objectives of ours: to go on pretraining."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from einthoven.convert.ecg_selfsupervised_names import load, single
from einthoven.convert.ecg_selfsupervised_sizes import on_paper, recognise
from einthoven.errors import CheckpointError

METHODS = {
    "byol": "online_network.encoder.features.", "moco": "encoder_q.features.", "swav": "model.features.", "simclr": "encoder.features.",
    "cpc": "model_cpc.",
}  # fmt: skip
"""Where the encoder stands in a training module's state."""


def objective_of(
    method: str | None, encoder: Mapping[str, Tensor], rest: dict[str, Tensor], hyper: Mapping[str, Any], state: Mapping[str, Tensor],
    notes: list[str],
) -> tuple[dict[str, Any] | None, list[str]]:  # fmt: skip
    """What pretraining needs beside the encoder, to go on with it; and the names of tensors that nobody needs."""
    if method is None:
        return None, list(rest)
    used: set[str] = set()

    def take(old: str, new: str, pairs: Mapping[str, str]) -> dict[str, Tensor]:
        """Layers by their old numbers as layers by ours: every tensor of them."""
        found = {}
        for key, value in rest.items():
            for a, b in pairs.items():
                if key.startswith(f"{old}{a}."):
                    used.add(key)
                    found[f"{new}{b}.{key.removeprefix(f'{old}{a}.')}"] = value
        return found

    def sizes(prefix: str, *layers: str) -> list[int]:
        return [rest[f"{prefix}{layer}.weight"].shape[0] for layer in layers]

    def copy_of(prefix: str) -> dict[str, Tensor]:
        """The encoder that follows, by our names."""
        features = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        return load(on_paper(*recognise(single(features))[:2]), single(features))

    own = {f"encoder.{key}": value for key, value in encoder.items()}
    pair = {"0": "0", "1": "1", "3": "3"}
    try:
        if method == "simclr":
            options: dict[str, Any] = {
                "projection": sizes("projection.model.", "1", "3"),
                "temperature": float(hyper.get("loss_temperature", 0.5)),
            }
            own |= take("projection.model.", "projection.", {"1": "0", "3": "2"})
            notes.append(
                "its loss left the constant e out of the sum instead of each view itself; going on with it, ours leaves the view out"
            )
        elif method == "byol":
            hidden, dim = sizes("online_network.projector.model.", "0", "3")
            options = {"hidden": hidden, "dim": dim}
            own |= take("online_network.projector.model.", "projector.", pair) | take("online_network.predictor.model.", "predictor.", pair)
            own |= take("target_network.projector.model.", "target_projector.", pair)
            own |= {f"target_encoder.{key}": value for key, value in copy_of("target_network.encoder.features.").items()}
            notes.append("biases of its target network never moved; going on with it, they will follow as the others do")
        elif method == "moco":
            options = {"projection": sizes("encoder_q.", "l1", "l2"), "queue": rest["queue"].shape[1]}
            own |= take("encoder_q.", "projection.", {"l1": "0", "l2": "2"}) | take("encoder_k.", "key_projection.", {"l1": "0", "l2": "2"})
            own |= {f"key_encoder.{key}": value for key, value in copy_of("encoder_k.features.").items()}
            own |= {"keys": rest["queue"].T.contiguous(), "place": rest["queue_ptr"].reshape(())}
            used |= {"queue", "queue_ptr"}
            notes.append("its temperature was its learning rate; going on with it, temperature has the published 0.07 unless you set it")
        elif method == "swav":
            hidden, dim = sizes("model.projection_head.", "0", "3")
            prototypes = rest["model.prototypes.weight"]
            options = {"projection": [hidden, dim], "prototypes": prototypes.shape[0], "crops": 6, "small": 0, "assigned": 2, "queue": 0}
            own |= take("model.projection_head.", "projection.", pair)
            # Our layer before a norm has no bias; the norm's running mean takes it up.
            own["projection.1.running_mean"] = own["projection.1.running_mean"] - own.pop("projection.0.bias")
            own["prototypes"] = torch.nn.functional.normalize(prototypes, dim=1)
            used.add("model.prototypes.weight")
            notes.append("its queue of older vectors is in files of its own and is left behind")
        else:
            single_layer = "proj.weight" in rest
            options = {
                "head": "linear" if single_layer else "mlp",
                "bias": any(key.startswith("proj.") and key.endswith("bias") for key in rest),
            }
            for ours, theirs in (("steps_ahead", "steps_predicted"), ("n_negatives", "n_false_negatives")):
                if isinstance(hyper.get(theirs), int):
                    options[ours] = hyper[theirs]
            if "negatives_from_same_seq_only" in hyper:
                options["negatives"] = "same_sequence" if hyper["negatives_from_same_seq_only"] else "batch"
            proj = {key: value for key, value in rest.items() if key.startswith("proj.")}
            if not proj:
                return None, list(rest)
            own |= proj
            used |= proj.keys()
    except KeyError as error:
        raise CheckpointError(f"lacks {error.args[0]}, which {method} needs; it is incomplete") from error
    dropped = [key for key in rest if key not in used]
    return {"name": method, "options": options, "state": own}, dropped
