"""What a grid is: its file, what is wrong with one, its lines, and the budget that every run of it has."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from command_line import einthoven, one_line

from einthoven.bench.grid import RANDOM, SCRATCH, SHIPPED, Budget, Grid, Method, grid, show_grid
from einthoven.bench.plan import cells_of, finetuning_of, fingerprint, lines_of, pretraining_of

NOWHERE = Path("store")


def small(**changes) -> Grid:
    return Grid.model_validate(
        {"name": "small", "methods": ["w2v", "cmsc"], "pretraining": {"steps": 7, "batch": 10, "lr": [1e-3, 3e-3]}, **changes}
    )


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_grid_that_is_shipped_composes_all_of_its_recipes(path: Path):
    made = grid(path.stem)
    assert made.name == path.stem and {line.title for line in lines_of(made)} > {RANDOM, SCRATCH}


@pytest.mark.parametrize("name", [*(path.stem for path in SHIPPED.glob("*.yaml")), "one"])
def test_a_printed_grid_is_a_file_that_gives_the_same_grid(tmp_path: Path, name: str):
    if name == "one":  # everything that could be written in another way than it is read
        made = small(
            methods=[{"recipe": "w2v", "name": "mine: A", "encoders": ["a"], "set": ["leads=[I, II]"]}, "cmsc"],
            variants={"a": "tiny encoder.depth=1"},
            set=["schedule={name: cosine, warmup: 5}", "where=age > 3"],
            classes=["164889003"],
            label_shares=[0.1, 1],
        )
    else:
        made = grid(name)
    (tmp_path / "printed.yaml").write_text(show_grid(made))
    assert grid(str(tmp_path / "printed.yaml")) == made


def test_the_command_prints_the_grid_as_it_was_changed(tmp_path: Path):
    outcome = einthoven(["bench", "quick", "--print-config", "pretraining.steps=7", "seeds=[1, 2]", "finetuning.lr=1e-2"], tmp_path)
    values = yaml.safe_load(outcome.out)
    assert outcome.code == 0 and values["pretraining"]["steps"] == 7 and values["seeds"] == [1, 2] and values["finetuning"]["lr"] == [0.01]
    assert set(values) == set(Grid.model_fields) and all("  # " in line for line in outcome.out.splitlines())


def test_numbers_are_read_as_on_the_command_line(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("methods: [w2v]\npretraining: {steps: 3, lr: 1e-3}\n")
    made = grid(str(tmp_path / "mine.yaml"), {"bootstrap": 200})
    assert (made.name, made.pretraining.lr, made.bootstrap) == ("mine", (0.001,), 200)


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("bench quik data=store", ["no grid quik", "did you mean quick?"]),
        ("bench mine.yaml data=store", ["no grid mine.yaml"]),
        ("bench quick", ["add data=STORE"]),
        ("bench quick data=nowhere", ["no store at nowhere"]),
        ("bench quick data=s workers=x", ["workers: ", "'x'"]),
        ("bench quick data=s protokols=probe seeds=a", ["protokols: unknown key, did you mean protocols?", "seeds.0: ", "'a'"]),
        ("bench quick data=s pretraining.stepz=4", ["pretraining.stepz: unknown key, did you mean steps?"]),
        ("bench quick data=s pretraining.steps=0", ["pretraining.steps: ", "greater than 0"]),
        ("bench quick data=s pretraining=3", ["pretraining: "]),
        ("bench quick data=s seeds.x=1", ["seeds"]),
        ("bench quick data=s protocols=[prob]", ["protocols.0: ", "'probe'", "'prob'"]),
        ("bench quick data=s label_shares=[0]", ["label_shares.0: ", "greater than 0"]),
        ("bench quick data=s methods=[{recip:x}]", ["methods.0.recipe"]),
        ("bench quick data=s methods=[w2v,w2v]", ["two are called w2v on tiny"]),
        ("bench quick data=s seeds=[1,1]", ["seeds: expected each once"]),
        # what only a look at all the recipes shows; nothing has been run by then
        ("bench quick data=s methods=[simcrl,byo]", ["simcrl on tiny", "did you mean simclr?", "byo on tiny", "did you mean byol?"]),
        ("bench quick data=s methods=[diagnosis]", ["diagnosis is a recipe of fine-tuning"]),
        ("bench quick data=s methods=[w2v] encoders=[tinny]", ["w2v on tinny", "did you mean tiny?"]),
        ("bench quick data=s methods=[w2v] set=[optim.rate=1]", ["optim.rate: unknown key"]),
        ("bench quick data=s methods=[jepa] encoders=[vit_tiny]", ["rises over 10000 updates and the budget is 300", "schedule.warmup"]),
        ("bench quick data=s --shards 3/2", ["--shards", "3/2"]),
    ],
)  # fmt: skip
def test_a_wrong_grid_is_refused_in_one_line_before_anything_is_run(tmp_path: Path, store: Path, words: str, parts: list[str]):
    line = einthoven(words.replace("data=s ", f"data={store} ").split(), tmp_path)
    one_line(line, *parts)
    assert not list(tmp_path.iterdir())


def test_a_name_that_would_hide_a_baseline_is_refused():
    with pytest.raises(ValueError, match="always there"):
        small(methods=[{"recipe": "w2v", "name": RANDOM}])


def test_every_encoder_and_seed_has_both_baselines():
    made = small(methods=["w2v", {"recipe": "cmsc", "encoders": ["small"]}], seeds=[1, 2])
    keys = [(line.title, line.encoder, line.seed) for line in lines_of(made)]
    baselines = [(title, encoder, seed) for encoder in ("tiny", "small") for seed in (1, 2) for title in (RANDOM, SCRATCH)]
    assert keys == [*baselines, ("w2v", "tiny", 1), ("w2v", "tiny", 2), ("cmsc", "small", 1), ("cmsc", "small", 2)]


def test_baselines_are_shown_the_signal_that_their_methods_are_shown():
    # simclr is published on 2.5 s in mV, w2v on 5 s at SD 1; an untrained encoder on 5 s would be no measure of what simclr learned.
    lines = lines_of(small(methods=["w2v", "simclr", "byol"], set=["schedule.warmup=1"]))
    label = {line.title: line.label for line in lines if line.method is not None}
    assert label["simclr"] == label["byol"] == "tiny, seconds=2.5 scaling=none" != label["w2v"]
    assert [(line.title, line.label) for line in lines if line.method is None] == [
        (title, label[name]) for name in ("w2v", "simclr") for title in (RANDOM, SCRATCH)
    ]
    assert {line.label for line in lines_of(small(encoders=["tiny"]))} == {"tiny"}  # all alike: nothing to tell apart


def test_every_run_has_the_budget_of_the_grid_and_pairs_count_twice():
    made = small(methods=["w2v", "cmsc", {"recipe": "simclr", "encoders": ["vit_tiny"]}], set=["schedule.warmup=2"])
    lines = {line.title: line for line in lines_of(made) if line.method is not None}
    for lr in made.pretraining.lr:
        recipes = {title: pretraining_of(made, line, lr, NOWHERE) for title, line in lines.items()}
        assert {(it.steps, it.epochs, it.optim.lr, it.seed) for it in recipes.values()} == {(7, None, lr, 1)}
        assert {title: it.batch for title, it in recipes.items()} == {"w2v": 10, "cmsc": 5, "simclr": 10}


def test_fine_tuning_is_the_same_for_every_method_but_for_the_signal():
    methods = ["w2v", {"recipe": "simclr", "set": ["optim.weight_decay=0.5", "objective.temperature=0.3"]}]
    made = small(methods=methods, encoders=["tiny"], finetuning=Budget(steps=5, batch=6), set=["schedule.warmup=2"])
    first, second = (
        finetuning_of(made, line, "full", 1e-3, 0.5, NOWHERE, Path("run")).model_dump()
        for line in lines_of(made)
        if line.method is not None
    )
    assert {key for key in first if first[key] != second[key]} == {"seconds", "scaling"}
    assert (first["steps"], first["batch"], first["label_share"], first["init"], second["seconds"]) == (5, 6, 0.5, "run", 2.5)
    assert first["encoder"]["extractor_gradient"] == 1.0  # all weights learn where the protocol says so


def test_a_cell_is_named_by_everything_that_its_answer_depends_on_and_by_nothing_else():
    def names(**changes) -> set[str]:
        made = small(**changes)
        return {name for line in lines_of(made) if line.title != RANDOM for name in cells_of(made, line).values()}

    before = names()
    assert before == names(bootstrap=300) == names(min_positives=3) == names(name="other")
    assert before < names(methods=["w2v", "cmsc", "cmlc"]) and before < names(seeds=[1, 2]) and before < names(protocols=["probe", "full"])
    for changes in (
        {"pretraining": {"steps": 8, "batch": 10, "lr": [1e-3, 3e-3]}},
        {"classes": ["1"]},
        {"unlabelled": "leave_out"},
        {"set": ["seconds=2"]},
        {"encoders": ["small"]},
    ):
        assert not before & names(**changes), changes


def test_fine_tuning_from_other_weights_is_another_run():
    # Learning rates are tried for pretraining; a run of fine-tuning must not be taken for one that began from the other's weights.
    made = small()
    line = next(line for line in lines_of(made) if line.method is not None)
    one, other = (fingerprint(finetuning_of(made, line, "full", 1e-3, 1.0, NOWHERE, Path("runs") / name)) for name in "ab")
    moved = finetuning_of(made, line, "full", 1e-3, 1.0, Path("elsewhere"), Path("moved/runs/a"))
    assert one != other and fingerprint(moved) == one


def test_a_method_is_called_by_its_recipe_unless_it_has_a_name():
    assert (Method(recipe="w2v").title, Method(recipe="w2v", name="mine").title) == ("w2v", "mine")
