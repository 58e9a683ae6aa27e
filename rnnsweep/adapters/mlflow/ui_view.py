"""What MLflow's pages show of a sweep at first: its table's columns and order, and its charts.

The state is what the UI's Share button stores in a tag of the experiment; our links name it. Without it a browser that
comes for the first time sees none of the sweep's columns, and as its first chart the metric whose name sorts first.
"""

from __future__ import annotations

import json
from typing import Any

from rnnsweep.adapters.mlflow.formatting import ORDER, column_names
from rnnsweep.adapters.mlflow.sqlite_tables import KIND
from rnnsweep.adapters.trial_texts import TAGS, legal_name
from rnnsweep.sweep.plan import SweepPlan

TRIALS_ONLY = f"tags.`{KIND}` = 'trial'"
VIEW = "rnnsweep"
"""Name of the view."""
AXES = 8
"""Searched keys that the parallel coordinates draw well."""


def view_tag(plan: SweepPlan) -> dict[str, str]:
    """The experiment's tag that holds the view."""
    return {f"mlflow.sharedViewState.{VIEW}": json.dumps(_state(plan), separators=(",", ":"))}


_CLOSING = ("metrics.`solved_at`", "tags.`solved`", "tags.`state`", "tags.`reason`")


def _state(plan: SweepPlan) -> dict[str, Any]:
    columns = column_names(plan.keys, TAGS)
    chosen = [f"tags.`{columns[key]}`" for key in plan.space.keys]
    return {
        "searchFilter": TRIALS_ONLY,
        "orderByKey": f"tags.`{ORDER}`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": ["metrics.`objective`", *chosen, *_CLOSING],
        "columnOrder": [],
        "columnWidths": {},
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": _charts(plan),
        "compareRunSections": [
            _section("sweep", "Sweep", columns=2),
            _section("compare", "Searched keys and objective", columns=1),
            _section("plain", "Model metrics", columns=3),
        ],
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,  # else the UI sorts the sections by name, and ours is not the first
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def _section(key: str, name: str, columns: int) -> dict[str, Any]:
    flags = {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    return {"uuid": key, "name": name, **flags, "columns": columns, "cardHeight": 420}


def _charts(plan: SweepPlan) -> list[dict[str, Any]]:
    """The objective's curves, then all searched keys beside it; the UI adds a chart for every other metric.

    Keys that some trials lack stay out: parallel coordinates leave out every run that has not all of its axes.
    """
    everywhere = [legal_name(dimension.key) for dimension in plan.space if not dimension.when]
    return [
        _line("objective"),
        _line("valid/error") if plan.objectives[0].metric != "valid/error" else _line("train/loss"),
        {
            **_chart("axes", "PARALLEL", "compare"),
            "selectedParams": everywhere[:AXES],
            "selectedMetrics": ["objective"],
            "showAllRuns": True,
        },
    ]


def _line(key: str) -> dict[str, Any]:
    return {
        **_chart(key, "LINE", "sweep"),
        "metricKey": key,
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "range": {},
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }


def _chart(key: str, kind: str, section: str) -> dict[str, Any]:
    return {
        "uuid": key,
        "type": kind,
        "runsCountToCompare": 20,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
    }


def experiment_tags(plan: SweepPlan) -> dict[str, str]:
    """Tags of a sweep's experiment: where its page opens, what it compares by, and the view."""
    maximize = plan.objectives[0].goal == "maximize"
    return {
        "mlflow.experimentKind": "custom_model_development",  # opens on the runs, not on language-model traces
        "mlflow.experiment.primaryMetric.name": "objective",
        "mlflow.experiment.primaryMetric.greaterIsBetter": "true" if maximize else "false",
        **view_tag(plan),
    }
