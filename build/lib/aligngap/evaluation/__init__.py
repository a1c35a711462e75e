"""What is measured of a model: evaluators, named in a config as `evaluators.NAME = {type, ...}`."""

# The types. Yours: `type = "package.module.Name"`, a class that derives from `Evaluator`.
EVALUATORS = {
    "arithmetic": "aligngap.evaluation.arithmetic.Arithmetic",
    "clustering": "aligngap.evaluation.clustering.Clustering",
    "gap": "aligngap.evaluation.gap.Gap",
    "intra_modal": "aligngap.evaluation.intra_modal.IntraModal",
    "object_bias": "aligngap.evaluation.object_bias.ObjectBias",
    "perturbation": "aligngap.evaluation.perturbation.Perturbation",
    "probe": "aligngap.evaluation.probe.Probe",
    "retrieval": "aligngap.evaluation.retrieval.Retrieval",
    "search": "aligngap.evaluation.search.Search",
    "substitution": "aligngap.evaluation.substitution.Substitution",
    "text_similarity": "aligngap.evaluation.text_similarity.TextSimilarity",
    "zero_shot": "aligngap.evaluation.zero_shot.ZeroShot",
}
