"""What is measured of a model: evaluators, named in a config as `evaluators.NAME = {type, ...}`."""

# The types. Yours: `type = "package.module.Name"`, a class that derives from `Evaluator`.
EVALUATORS = {
    "gap": "aligngap.evaluation.gap.Gap",
    "retrieval": "aligngap.evaluation.retrieval.Retrieval",
    "search": "aligngap.evaluation.search.Search",
    "zero_shot": "aligngap.evaluation.zero_shot.ZeroShot",
}
