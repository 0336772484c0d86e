"""The sections of a report, in order, as data: each lists the tables and figures that answer one question.

A section appears if any of its parts has something to show. A new table or figure is one more entry here.
"""

from smix.evaluation import cifar_c
from smix.evaluation.corruptions import suite
from smix.report import accuracy_tables, classes, cost, provenance, tables, verdict
from smix.report.figures import accuracy, pictures, predictions, robustness
from smix.report.page import Section
from smix.report.records import Comparison, ReportAssets

OWN, OFFICIAL = tables.corruption_tables(suite.LABEL), tables.corruption_tables(cifar_c.LABEL, "-official")


def _masks_lead(comparison: Comparison, assets: ReportAssets) -> str:
    assert assets.masks is not None, "every part of the section shows masks"
    return (
        f"{assets.masks.share('default'):.1f} % of the {len(assets.masks.rows):,} masks are valid by the default rule, "
        f"{assets.masks.share('figure14'):.1f} % as in figure 14 (coverage of 1 % or more). The table tests whether a method gains more in "
        "the classes whose masks are valid."
    )


SECTIONS = (
    Section(
        "accuracy",
        "Accuracy",
        "Test accuracy of each run at the last epoch (with early stopping, at the best one), and whether the differences between methods are statistically significant.",
        (
            lambda comparison, assets: accuracy_tables.accuracy_table(comparison.runs),
            accuracy.accuracy_per_run,
            accuracy.accuracy_differences,
        ),
    ),
    Section(
        "mixes",
        "Mixes",
        "The same images under every method, as a training step uses them.",
        (pictures.pair, pictures.mixes),
    ),
    Section(
        "pairs",
        "Every pair of methods",
        "The differences that are statistically significant, and those that so many seeds could have detected.",
        (accuracy_tables.pairs, verdict.pair_sentences, accuracy_tables.test_images),
        folded=True,
    ),
    Section(
        "training",
        "Training",
        "Accuracy during training, by epochs and by seconds.",
        (accuracy.accuracy_per_epoch, accuracy.accuracy_over_time),
    ),
    Section(
        "calibration",
        "Calibration: confidence compared with accuracy",
        verdict.overconfidence,
        (
            predictions.overconfidence,
            predictions.reliability,
            tables.CALIBRATION,
            predictions.class_wise,
            tables.CLASS_CALIBRATION,
        ),
    ),
    Section(
        "confidence",
        "Errors at each level of confidence",
        "How often a network is wrong when it is confident, and how many errors remain if it answers only then.",
        (predictions.wrong_by_confidence, tables.CONFIDENCE, predictions.risk_coverage, tables.LEVEL_TABLE),
    ),
    Section(
        "classes",
        "Classes",
        "Which classes are recognised, which are confused with each other, and what changes with the method.",
        (predictions.confusion, predictions.confusion_change, classes.confused_table, classes.class_table),
    ),
    Section(
        "corruptions",
        "Corrupted images",
        "Accuracy under noise, blur, weather and digital damage.",
        (robustness.corruptions, *OWN, robustness.official_corruptions, *OFFICIAL),
    ),
    Section(
        "attacks",
        "Attacks",
        "Images whose values were changed slightly, with knowledge of the network, so that it misclassifies them.",
        (robustness.attacks, tables.ATTACKS),
    ),
    Section(
        "background",
        "Background swap",
        "Whether a network recognises the object or its surroundings.",
        (robustness.objects, tables.OBJECTS),
    ),
    Section("other-data", "Other data", "The same networks on images of other data sets.", (tables.OTHER_DATA,)),
    Section(
        "cost",
        "Cost",
        "The time of a run of each method, masks included, and its accuracy after equal epochs and after equal seconds.",
        (cost.cost,),
    ),
    Section(
        "masks",
        "Masks",
        _masks_lead,
        (predictions.class_gain, classes.gain_table, pictures.valid_masks, pictures.contact_sheet),
    ),
    Section(
        "mistakes",
        "The most confident errors",
        "Errors of the first seed of each method with the highest confidence.",
        (pictures.mistakes,),
    ),
    Section(
        "provenance",
        "Provenance",
        "The options that all runs share, and every run.",
        (provenance.options, provenance.versions, accuracy_tables.runs),
        folded=True,
    ),
)
