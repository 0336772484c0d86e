"""The sections of a report, in order, as data: each lists the tables and figures that answer one question.

A section appears if any of its parts has something to show. A new table or figure is one more entry here.
"""

from smix.evaluation import cifar_c
from smix.evaluation.corruptions import suite
from smix.report import accuracy, mask_check, pictures, predictions, robustness, runs, tables, verdict
from smix.report.comparison import Comparison, ReportAssets
from smix.report.page import FigureSpec, Section

OWN, OFFICIAL = robustness.corruption_tables(suite.LABEL), robustness.corruption_tables(cifar_c.LABEL, "-official")


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
        "Test accuracy of each run at the last epoch (with early stopping, at the best one), and whether the differences between "
        "methods are statistically significant.",
        (
            lambda comparison, assets: accuracy.accuracy_table(comparison.accuracy),
            FigureSpec("accuracy-distribution", accuracy.accuracy_per_run),
            FigureSpec("accuracy-differences", accuracy.accuracy_differences),
        ),
    ),
    Section(
        "mixes",
        "Mixes",
        "The same images under every method, as a training step uses them.",
        (FigureSpec("pair", pictures.pair, raster=True), FigureSpec("mixes", pictures.mixes, raster=True)),
    ),
    Section(
        "pairs",
        "Every pair of methods",
        "The differences that are statistically significant, and those that this number of seeds could have detected.",
        (accuracy.pairs, verdict.pair_sentences, accuracy.test_images),
        folded=True,
    ),
    Section(
        "training",
        "Training",
        "Accuracy during training, by epochs and by seconds.",
        (
            FigureSpec("accuracy-per-epoch", accuracy.accuracy_per_epoch),
            FigureSpec("accuracy-over-time", accuracy.accuracy_over_time),
        ),
    ),
    Section(
        "calibration",
        "Calibration: confidence compared with accuracy",
        verdict.overconfidence,
        (
            FigureSpec("overconfidence", predictions.overconfidence),
            FigureSpec("reliability", predictions.reliability),
            tables.CALIBRATION,
            FigureSpec("class-wise", predictions.class_wise),
            tables.CLASS_CALIBRATION,
        ),
    ),
    Section(
        "confidence",
        "Errors at each level of confidence",
        "How often a network is wrong when it is confident, and how many errors remain if it answers only then.",
        (
            FigureSpec("wrong-by-confidence", predictions.wrong_by_confidence),
            tables.CONFIDENCE,
            FigureSpec("risk-coverage", predictions.risk_coverage),
            tables.LEVEL_TABLE,
        ),
    ),
    Section(
        "classes",
        "Classes",
        "Which classes are recognised, which are confused with each other, and what changes with the method.",
        (
            FigureSpec("confusion", predictions.confusion),
            FigureSpec("confusion-change", predictions.confusion_change),
            predictions.confused_table,
            predictions.class_table,
        ),
    ),
    Section(
        "corruptions",
        "Corrupted images",
        "Accuracy under noise, blur, weather and digital damage.",
        (
            FigureSpec("corruptions", robustness.corruptions),
            *OWN,
            FigureSpec("corruptions-official", robustness.official_corruptions),
            *OFFICIAL,
        ),
    ),
    Section(
        "attacks",
        "Attacks",
        "Images whose values were changed slightly, with knowledge of the network, so that it misclassifies them.",
        (FigureSpec("attacks", robustness.attacks), robustness.ATTACKS),
    ),
    Section(
        "background",
        "Background swap",
        "Whether a network recognises the object or its surroundings.",
        (FigureSpec("background", robustness.objects), robustness.OBJECTS),
    ),
    Section("other-data", "Other data", "The same networks on images of other data sets.", (robustness.OTHER_DATA,)),
    Section(
        "cost",
        "Cost",
        "The time of a run of each method, masks included, and its accuracy after equal epochs and after equal seconds.",
        (runs.cost,),
    ),
    Section(
        "masks",
        "Masks",
        _masks_lead,
        (
            FigureSpec("class-gain", predictions.class_gain),
            predictions.gain_table,
            FigureSpec("valid-masks", mask_check.valid_masks),
            FigureSpec("contact-sheet", mask_check.contact_sheet, raster=True),
        ),
    ),
    Section(
        "mistakes",
        "The most confident errors",
        "Errors of the first seed of each method with the highest confidence.",
        (FigureSpec("mistakes", pictures.mistakes, raster=True),),
    ),
    Section(
        "provenance",
        "Provenance",
        "The options that all runs share, and every run.",
        (runs.options, runs.versions, runs.every_run),
        folded=True,
    ),
)
