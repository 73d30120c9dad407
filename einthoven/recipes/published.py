"""The named recipes: what was published, with its hyper-parameters; a variant calls another recipe and changes what differs.

Numbers are those of the papers' code or configuration files. Where it counted epochs of a fixed corpus (warm-up, SwAV's queue)
the number of updates is worked out for that corpus and said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from einthoven.recipes.kinds import Augmentation, Encoder, Finetune, Objective, Pretrain
from einthoven.train.settings import Optim, Schedule


def fairseq_noise() -> tuple[Augmentation, ...]:
    """The five augmentations of fairseq-signals' ``*_augs``, in its order and form, with its amplitudes in mV."""
    return (
        Augmentation(name="powerline_noise", largest=0.1, n_harmonics=1, unlike=False),
        Augmentation(name="emg_noise", largest=0.1),
        Augmentation(name="baseline_shift", largest=0.1, n_shifts=1, graded=False, unlike=0.0, seconds=1.0),
        Augmentation(name="baseline_wander", form="tones", largest=0.1, highest=0.2, unlike=0.5),
        Augmentation(name="random_lead_mask"),
    )


def but(recipe: Any, name: str, **changes: Any) -> Any:
    """The same recipe with another name, and what differs."""
    return recipe.model_copy(update={"name": name, **changes})


def some(*names: str) -> tuple[Augmentation, ...]:
    """Augmentations with their defaults."""
    return tuple(Augmentation(name=name) for name in names)


# ------------------------------------------------------------------------------------------ pretraining: fairseq-signals, ECG-FM


def w2v() -> Pretrain:
    """wav2vec 2.0 on single segments: predict masked frames among distractors (Baevski et al., NeurIPS 2020)."""
    return Pretrain(
        name="w2v",
        objective=Objective(name="w2v", dropout_features=0.1),
        epochs=200,
        optim=Optim(lr=5e-5, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01),
    )


def w2v_rlm() -> Pretrain:
    """W2V with random lead masking."""
    return but(w2v(), "w2v_rlm", augment=some("random_lead_mask"))


def w2v_augs() -> Pretrain:
    """W2V with powerline, EMG, baseline shift and wander, and random lead masking."""
    return but(w2v(), "w2v_augs", augment=fairseq_noise())


def w2v_cmsc() -> Pretrain:
    """wav2vec 2.0 and CMSC: adjacent segments of one patient also attract (Oh et al., CHIL 2022)."""
    return but(w2v(), "w2v_cmsc", objective=Objective(name="w2v_cmsc", dropout_features=0.1))


def w2v_cmsc_rlm() -> Pretrain:
    """W2V+CMSC with random lead masking: the method behind ECG-FM (Oh et al., CHIL 2022; McKeen et al., 2024)."""
    return but(w2v_cmsc(), "w2v_cmsc_rlm", augment=some("random_lead_mask"))


def w2v_cmsc_augs() -> Pretrain:
    """W2V+CMSC with the five augmentations of fairseq-signals."""
    return but(w2v_cmsc(), "w2v_cmsc_augs", augment=fairseq_noise())


def w2v_cmsc_rlm_small() -> Pretrain:
    """W2V+CMSC+RLM on eight layers instead of twelve."""
    return but(w2v_cmsc_rlm(), "w2v_cmsc_rlm_small", encoder=Encoder(name="small"))


def cmsc() -> Pretrain:
    """CLOCS, contrastive multi-segment coding: neighbouring segments of a patient attract (Kiyasseh et al., ICML 2021)."""
    return but(w2v(), "cmsc", objective=Objective(name="cmsc"))


def cmsc_rlm() -> Pretrain:
    """CMSC with random lead masking."""
    return but(cmsc(), "cmsc_rlm", augment=some("random_lead_mask"))


def cmlc() -> Pretrain:
    """CLOCS, contrastive multi-lead coding: leads of a patient attract; four of the leads at each step, as the paper had."""
    return but(w2v(), "cmlc", objective=Objective(name="cmlc", n_leads=4))


def cmsmlc() -> Pretrain:
    """CLOCS, contrastive multi-segment multi-lead coding: both at once."""
    return but(w2v(), "cmsmlc", objective=Objective(name="cmsmlc", n_leads=4))


def three_kg() -> Pretrain:
    """3KG: views of one ECG whose vectorcardiogram was turned, stretched and masked attract (Gopal et al., ML4H 2021)."""
    return but(w2v(), "3kg", objective=Objective(name="3kg", constant_norm=True), augment=some("vcg"), micro_batch=512)


def simclr_augs() -> Pretrain:
    """SimCLR in the form of fairseq-signals: no projection, the five augmentations."""
    method = Objective(name="simclr", temperature=0.1, projection=(), constant_norm=True)
    return but(w2v(), "simclr_augs", objective=method, augment=fairseq_noise(), micro_batch=512)


def simclr_rlm() -> Pretrain:
    """SimCLR in the form of fairseq-signals, with random lead masking alone."""
    return but(simclr_augs(), "simclr_rlm", augment=some("random_lead_mask"))


# -------------------------------------------------------------------------------------------------- pretraining: ecg-selfsupervised


def simclr() -> Pretrain:
    """SimCLR on xresnet1d50, 2.5 s crops at 100 Hz: two augmented views of one ECG attract (Chen et al., 2020; Mehari & Strodthoff, 2022)."""
    return Pretrain(
        name="simclr",
        objective=Objective(name="simclr", temperature=0.5, projection=(512, 16)),
        encoder=Encoder(name="xresnet1d50"),
        augment=some("random_resized_crop", "time_out"),
        seconds=2.5,
        crop="random",
        scaling="none",
        epochs=2000,
        published_batch=4096,
        tiny_batch=64,
        micro_batch=4096,
        optim=Optim(name="adam", lr=0.00229, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-6, decay_all=False),
        schedule=Schedule(name="warmup_cosine", warmup=13),  # one epoch of its 54,566 recordings
    )


def byol() -> Pretrain:
    """BYOL: one view's network predicts a slowly following copy's answer to the other; no negatives (Grill et al., 2020)."""
    optim = Optim(name="adam", lr=0.00229, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-5)
    schedule = Schedule(name="warmup_cosine", warmup=130)  # ten epochs
    return but(simclr(), "byol", objective=Objective(name="byol", hidden=512, dim=16), optim=optim, schedule=schedule)


def swav() -> Pretrain:
    """SwAV: views predict one another's assignment to prototypes (Caron et al., 2020); six full crops and a queue of eight batches."""
    method = Objective(
        name="swav", crops=6, small=0, prototypes=3000, projection=(2048, 128), queue=8 * 4096, queue_from=15 * 13, frozen_for=13
    )
    optim = Optim(name="adam", lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-6)
    return but(simclr(), "swav", objective=method, optim=optim, schedule=Schedule(name="warmup_cosine", warmup=130))


def moco() -> Pretrain:
    """MoCo: a view is told from a queue of older keys made by a slowly following copy (He et al., 2020)."""
    optim = Optim(name="adam", lr=0.00229, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-5)
    method = Objective(name="moco", temperature=0.07, projection=(512, 16))
    return but(simclr(), "moco", objective=method, optim=optim, schedule=Schedule(name="cosine"))


def cpc() -> Pretrain:
    """CPC: the context predicts the frame twelve steps ahead among distractors (van den Oord et al., 2018; Mehari & Strodthoff, 2022)."""
    return Pretrain(
        name="cpc",
        objective=Objective(name="cpc", steps_ahead=12, n_negatives=128),
        encoder=Encoder(name="cpc"),
        seconds=10.0,
        crop="random",
        scaling="corpus",
        epochs=1000,
        published_batch=32,
        tiny_batch=32,
        optim=Optim(lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-3),
    )


# ------------------------------------------------------------------------------------------------------- pretraining: beyond both


def ecg_cpc() -> Pretrain:
    """ECG-CPC: CPC on a causal S4 encoder, 10 s at 240 Hz, mV as they are."""
    return but(
        cpc(),
        "ecg_cpc",
        objective=Objective(name="cpc", steps_ahead=14, n_negatives=128),
        encoder=Encoder(name="ecg_cpc"),
        scaling="none",
        epochs=200,
        published_batch=64,
        precision="fp32",
        optim=Optim(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-3),
    )


def jepa() -> Pretrain:
    """ECG-JEPA with patches in time: predict what a moving average of the encoder says of hidden patches (ViT-S, 10 s at 500 Hz)."""
    return Pretrain(
        name="jepa",
        objective=Objective(name="jepa"),
        encoder=Encoder(name="vit_s"),
        seconds=10.0,
        crop="random",
        scaling="corpus",
        steps=100_000,
        published_batch=2048,
        tiny_batch=64,
        # Published: weight decay rises from 0.01 to 0.1 along a cosine; here it stays at the mean of both.
        optim=Optim(lr=1e-3, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.055, decay_all=False),
        schedule=Schedule(name="cosine", warmup=10_000, warmup_from=1e-3, final=1e-3),
    )


def jepa_s4() -> Pretrain:
    """JEPA on a bidirectional S4 encoder: hidden frames are covered, not left out (2.5 s at 240 Hz)."""
    encoder = Encoder(name="ecg_cpc", bidirectional=True)
    optim = Optim(lr=3e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-3)
    method = Objective(name="jepa", momentum=0.99, momentum_end=0.99)
    return but(ecg_cpc(), "jepa_s4", objective=method, encoder=encoder, seconds=2.5, epochs=10, optim=optim)


def st_mem() -> Pretrain:
    """ST-MEM: draw the three quarters of the patches of each lead that are hidden (Na et al., ICLR 2024; ViT-B, 9 s at 250 Hz)."""
    return Pretrain(
        name="st_mem",
        objective=Objective(name="mae"),
        encoder=Encoder(name="st_mem"),
        seconds=9.0,
        crop="random",
        epochs=800,
        published_batch=1024,
        tiny_batch=64,
        optim=Optim(lr=1.2e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01),
        schedule=Schedule(name="cosine", warmup=7_500),  # 40 epochs of about 190,000 recordings
    )


# ------------------------------------------------------------------------------------------------- fine-tuning: fairseq-signals, ECG-FM


def diagnosis() -> Finetune:
    """Multi-label diagnosis from one or several windows of a recording (fairseq-signals' `diagnosis`)."""
    return Finetune(name="diagnosis", epochs=100, optim=Optim(lr=5e-5, betas=(0.9, 0.98), eps=1e-8))


def diagnosis_scratch() -> Finetune:
    """Diagnosis without pretraining, from random weights (`scratch/diagnosis_physionet2021`)."""
    optim = Optim(lr=5e-5, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.0)
    return but(diagnosis(), "diagnosis_scratch", optim=optim, published_batch=64, encoder=Encoder(name="base", extractor_gradient=0.1))


def nejedly2021() -> Finetune:
    """The residual network of Nejedly et al., first in the PhysioNet/CinC Challenge 2021, from random weights."""
    return Finetune(
        name="nejedly2021",
        steps=100_000,
        encoder=Encoder(name="nejedly2021"),  # its dropout of 0.5 stands before the attention
        optim=Optim(lr=1e-4, betas=(0.9, 0.98), eps=1e-8, weight_decay=1e-4),
        schedule=Schedule(name="tri_stage", phases=(0.1, 0.4, 0.5), final=0.05),
    )


def se_wrn() -> Finetune:
    """The wide residual network with squeeze-and-excitation, from random weights."""
    optim = Optim(lr=1e-4, betas=(0.9, 0.98), eps=1e-8, weight_decay=5e-4)
    return but(nejedly2021(), "se_wrn", encoder=Encoder(name="se_wrn"), head_dropout=0.3, optim=optim)


def identification() -> Finetune:
    """Who is it? ArcFace on patients, judged on pairs of recordings of persons who were not trained on (fairseq-signals' `identification`)."""
    return Finetune(
        name="identification",
        task="identification",
        margin=1.0,
        scale=192.0,
        epochs=100,
        optim=Optim(lr=3e-5, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.0),
        schedule=Schedule(name="tri_stage", phases=(0.1, 0.2, 0.7), final=0.01),
    )


def identification_scratch() -> Finetune:
    """Identification without pretraining; the convolutions learn, which the old configuration prevented."""
    return but(identification(), "identification_scratch", encoder=Encoder(name="base", dim=512, heads=8))


def age() -> Finetune:
    """The age at which an ECG was recorded, by regression; ``targets=[qtc]`` and the like take other columns."""
    return Finetune(name="age", task="regression", targets=("age",), epochs=50, optim=Optim(lr=1e-3, betas=(0.9, 0.999), eps=1e-8))


# ----------------------------------------------------------------------------------------- fine-tuning: ecg-selfsupervised, PTB-XL benchmark


def ssl_linear() -> Finetune:
    """ecg-selfsupervised's linear evaluation: frozen encoder, 50 epochs, windows of 2.5 s every 1.25 s, their mean."""
    return Finetune(
        name="ssl_linear",
        protocol="linear",
        classes="ptbxl_all",
        unlabelled="leave_out",
        seconds=2.5,
        stride=1.25,
        crop="random",
        scaling="none",
        epochs=50,
        metric="macro_auroc",
        maximise=True,
        optim=Optim(lr=8e-3 * 128 / 256, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1),
    )


def ssl_finetune() -> Finetune:
    """ecg-selfsupervised's fine-tuning: all weights, lower stages slower by 4, 16, 64, 256."""
    optim = Optim(lr=0.01, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1, discriminative=(1 / 256, 1 / 64, 1 / 16, 1 / 4))
    return but(ssl_linear(), "ssl_finetune", protocol="full", optim=optim)


def cpc_finetune() -> Finetune:
    """CPC's fine-tuning: 50 epochs of the head alone, then 20 of all weights at a tenth of the rate, context and encoder slower by 10 and 100."""
    return but(
        ssl_linear(),
        "cpc_finetune",
        protocol="head_first",
        frozen_share=50 / 70,
        scaling="corpus",
        hidden=(512,),
        head_dropout=0.5,
        epochs=70,
        optim=Optim(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-3, discriminative=(0.01, 0.1)),
        schedule=Schedule(name="fixed", per_epoch=(*(1.0,) * 50, 0.1)),
    )


def ptbxl_xresnet1d101() -> Finetune:
    """The PTB-XL benchmark's xresnet1d101 from random weights: one cycle, 50 epochs, the maximum over windows (Strodthoff et al., 2021)."""
    return Finetune(
        name="ptbxl_xresnet1d101",
        encoder=Encoder(name="xresnet1d101"),
        classes="ptbxl_all",
        unlabelled="leave_out",
        hidden=(128,),
        head_dropout=0.5,
        seconds=2.5,
        stride=1.25,
        crop="random",
        aggregation="max",
        scaling="corpus",
        epochs=50,
        optim=Optim(lr=1e-2, betas=(0.95, 0.99), eps=1e-5, weight_decay=1e-2),
        schedule=Schedule(name="one_cycle"),
    )


def ptbxl_inception1d() -> Finetune:
    """The PTB-XL benchmark's inception1d."""
    return but(ptbxl_xresnet1d101(), "ptbxl_inception1d", encoder=Encoder(name="inception1d"))


def ptbxl_resnet1d_wang() -> Finetune:
    """The PTB-XL benchmark's resnet1d_wang."""
    return but(ptbxl_xresnet1d101(), "ptbxl_resnet1d_wang", encoder=Encoder(name="resnet1d_wang"))


def ptbxl_fcn_wang() -> Finetune:
    """The PTB-XL benchmark's fcn_wang."""
    return but(ptbxl_xresnet1d101(), "ptbxl_fcn_wang", encoder=Encoder(name="fcn_wang"))


def ptbxl_lstm() -> Finetune:
    """The PTB-XL benchmark's LSTM: a smaller rate, and clipping."""
    made = ptbxl_xresnet1d101()
    return but(made, "ptbxl_lstm", encoder=Encoder(name="lstm"), clip=0.25, optim=made.optim.model_copy(update={"lr": 1e-3}))


def ptbxl_lstm_bidir() -> Finetune:
    """The PTB-XL benchmark's bidirectional LSTM."""
    return but(ptbxl_lstm(), "ptbxl_lstm_bidir", encoder=Encoder(name="lstm_bidir"))


# -------------------------------------------------------------------------------------------------------------- fine-tuning: beyond both


def layerwise() -> Finetune:
    """Fine-tuning with the head at 1e-3, the upper half of the encoder at a tenth, the lower at a hundredth: it lifts ECG-FM from .504 to .927."""
    return Finetune(
        name="layerwise",
        epochs=100,
        metric="macro_auroc",
        maximise=True,
        published_batch=64,
        optim=Optim(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-3, discriminative=(0.01, 0.1)),
    )


def frozen_attention() -> Finetune:
    """A frozen encoder under an attention head with one learned query."""
    optim = Optim(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-3)
    return but(layerwise(), "frozen_attention", protocol="attention", optim=optim)


def s4_supervised() -> Finetune:
    """S4 from random weights, 2.5 s at 100 Hz: the strongest supervised line on PTB-XL."""
    return but(
        layerwise(),
        "s4_supervised",
        encoder=Encoder(name="s4"),
        seconds=2.5,
        crop="random",
        scaling="none",
        classes="ptbxl_all",
        precision="fp32",
        optim=Optim(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-3),
    )


# -------------------------------------------------------------------------------------------------------------------------- the tables


PRETRAIN: dict[str, Callable[[], Pretrain]] = {
    "w2v": w2v,
    "w2v_rlm": w2v_rlm,
    "w2v_augs": w2v_augs,
    "w2v_cmsc": w2v_cmsc,
    "w2v_cmsc_rlm": w2v_cmsc_rlm,
    "w2v_cmsc_augs": w2v_cmsc_augs,
    "w2v_cmsc_rlm_small": w2v_cmsc_rlm_small,
    "cmsc": cmsc,
    "cmsc_rlm": cmsc_rlm,
    "cmlc": cmlc,
    "cmsmlc": cmsmlc,
    "3kg": three_kg,
    "simclr_augs": simclr_augs,
    "simclr_rlm": simclr_rlm,
    "simclr": simclr,
    "byol": byol,
    "swav": swav,
    "moco": moco,
    "cpc": cpc,
    "ecg_cpc": ecg_cpc,
    "jepa": jepa,
    "jepa_s4": jepa_s4,
    "st_mem": st_mem,
}
FINETUNE: dict[str, Callable[[], Finetune]] = {
    "diagnosis": diagnosis,
    "diagnosis_scratch": diagnosis_scratch,
    "nejedly2021": nejedly2021,
    "se_wrn": se_wrn,
    "identification": identification,
    "identification_scratch": identification_scratch,
    "age": age,
    "ssl_linear": ssl_linear,
    "ssl_finetune": ssl_finetune,
    "cpc_finetune": cpc_finetune,
    "ptbxl_xresnet1d101": ptbxl_xresnet1d101,
    "ptbxl_inception1d": ptbxl_inception1d,
    "ptbxl_resnet1d_wang": ptbxl_resnet1d_wang,
    "ptbxl_fcn_wang": ptbxl_fcn_wang,
    "ptbxl_lstm": ptbxl_lstm,
    "ptbxl_lstm_bidir": ptbxl_lstm_bidir,
    "layerwise": layerwise,
    "frozen_attention": frozen_attention,
    "s4_supervised": s4_supervised,
}
