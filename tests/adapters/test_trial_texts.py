"""Names and texts of all trackers: whatever a user or an exception says becomes what MLflow and its databases take."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param_name, _validate_tag_name

from rnnsweep.adapters.trial_texts import LONGEST_NAME, TAGS, clean, legal_name, trial_facts
from rnnsweep.sweep.fidelity import stages_of
from tests.kit.demo_sweep import PARAMS, make_plan

NASTY = [
    "objective@200",
    "my@clip",
    "valid/MAP@5,x",
    "a//b",
    "/abs",
    "../up",
    ".",
    "..",
    "",
    "é",
    "\udc80",
    "a\0b",
    "x" * 300,
]


@given(st.text(max_size=40) | st.sampled_from(NASTY))
def test_every_name_is_made_legal(key):
    for check in (_validate_metric_name, _validate_param_name, _validate_tag_name):
        check(legal_name(key))
    assert len(legal_name(key)) <= LONGEST_NAME


def test_legal_names_stay_and_changed_ones_stay_apart():
    for key in ("valid/error", "controllers.clip.threshold", "grad/norm_clipped", "two words"):
        assert legal_name(key) == key
    changed = [legal_name(key) for key in ("MAP,5", "MAP;5", "MAP_5", "a//b", "a/b", "x" * 300, "x" * 301)]
    assert len(set(changed)) == len(changed)


@given(st.text(max_size=20))
def test_clean_texts_go_into_every_database(text):
    done = clean(text)
    done.encode("utf-8")
    assert "\0" not in done
    assert clean(done) == done


def test_facts_are_texts_whatever_the_trial():
    facts = trial_facts({"state": "RUNNING", "params": PARAMS, "reason": "a\x00b"}, make_plan(), "srn")
    assert facts["reason"] == "a\\x00b" and facts["seed"] == "7" and "solved" not in facts
    done = trial_facts({"state": "COMPLETE", "params": PARAMS, "solved_at": 9, "diverged_at": 3}, make_plan(), "srn")
    assert done["solved"] == "yes" and done["diverged_at"] == "3" and set(TAGS) <= set(done)


def test_what_a_trial_has_come_to_is_a_fact_of_a_sweep_whose_trials_grow():
    plan = replace(make_plan(), stages=stages_of({"task.length": {"0": 25, "100": 50}}, 100))
    running = {"state": "RUNNING", "params": PARAMS}
    assert [trial_facts({**running, "step": step}, plan, "srn")["fidelity"] for step in (0, 100, 200)] == [
        "task.length=25",
        "task.length=25",
        "task.length=50",
    ]
    assert "fidelity" not in trial_facts(running, make_plan(), "srn")
