"""The sections of a report, in order, as data: each lists the tables and figures that answer one question.

A section appears if any of its parts has something to show. A new table or figure is one more entry here.
"""

from functools import partial

from smix.evaluation import cifar_c
from smix.evaluation.corruptions import suite
from smix.report import accuracy_tables, classes, cost, provenance, tables, verdict
from smix.report.figures import accuracy, pictures, predictions, robustness
from smix.report.page import Figure, Section
from smix.report.records import PLAIN, Comparison, ReportAssets


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
        "Test accuracy of each run at the last epoch, and whether the differences between methods are statistically significant.",
        (
            lambda comparison, assets: accuracy_tables.accuracy_table(comparison.runs),
            Figure("accuracy-distribution", "Test accuracy of each run, by method", accuracy.accuracy_per_run),
            Figure(
                "accuracy-differences",
                f"Difference from {PLAIN} with its 95 % interval, by method",
                accuracy.accuracy_differences,
            ),
        ),
    ),
    Section(
        "mixes",
        "Mixes",
        "The same images under every method, as a training step uses them.",
        (
            Figure("pair", "One pair of images, mixed by each method", pictures.pair, raster=True),
            Figure("mixes", "Eight images and their partners, mixed by each method", pictures.mixes, raster=True),
        ),
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
        (
            Figure("accuracy-per-epoch", "Accuracy after each epoch, by method", accuracy.accuracy_per_epoch),
            Figure(
                "accuracy-over-time", "Accuracy against the time of training, by method", accuracy.accuracy_over_time
            ),
        ),
    ),
    Section(
        "calibration",
        "Calibration: confidence compared with accuracy",
        verdict.overconfidence,
        (
            Figure(
                "overconfidence", "Mean confidence minus accuracy of each run, by method", predictions.overconfidence
            ),
            Figure("reliability", "Accuracy against confidence in 15 bins, by method", predictions.reliability),
            tables.CALIBRATION,
            Figure("class-wise", "Class-wise calibration error of each run, by method", predictions.class_wise),
            tables.CLASS_CALIBRATION,
        ),
    ),
    Section(
        "confidence",
        "Errors at each level of confidence",
        "How often a network is wrong when it is confident, and how many errors remain if it answers only then.",
        (
            Figure(
                "wrong-by-confidence",
                "Error rate at each level of confidence, by method",
                predictions.wrong_by_confidence,
            ),
            tables.CONFIDENCE,
            Figure(
                "risk-coverage", "Error rate of the most confident predictions, by coverage", predictions.risk_coverage
            ),
            tables.LEVEL_TABLE,
        ),
    ),
    Section(
        "classes",
        "Classes",
        "Which classes are recognised, which are confused with each other, and what changes with the method.",
        (
            Figure("confusion", "Confusion matrix of each method", predictions.confusion),
            Figure(
                "confusion-change",
                f"Confusion matrix of each method minus that of {PLAIN}",
                predictions.confusion_change,
            ),
            classes.confused_table,
            classes.class_table,
        ),
    ),
    Section(
        "corruptions",
        "Corrupted images",
        "Accuracy under noise, blur, weather and digital damage.",
        tuple(
            part
            for label, name in ((suite.LABEL, ""), (cifar_c.LABEL, "-official"))
            for part in (
                Figure(
                    f"corruptions{name}",
                    f"Accuracy by severity and by corruption ({label})",
                    partial(robustness.corruptions, suite=label),
                ),
                tables.corruption_table(label, f"corruptions{name}"),
                tables.each_corruption_table(label, f"each-corruption{name}"),
            )
        ),
    ),
    Section(
        "attacks",
        "Attacks",
        "Images whose values were changed slightly, with knowledge of the network, so that it misclassifies them.",
        (Figure("attacks", "Accuracy against the size of the attack, by method", robustness.attacks), tables.ATTACKS),
    ),
    Section(
        "background",
        "Background swap",
        "Whether a network recognises the object or its surroundings.",
        (
            Figure("background", "Accuracy with other backgrounds and hidden objects", robustness.objects),
            tables.OBJECTS,
        ),
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
        (
            Figure("class-gain", "Gain of each class against its share of valid masks", predictions.class_gain),
            classes.gain_table,
            Figure("valid-masks", "Shares of valid and invalid masks, as in figure 14", pictures.valid_masks),
            Figure(
                "contact-sheet",
                "Images, each next to itself with its mask in pink",
                pictures.contact_sheet,
                raster=True,
            ),
        ),
    ),
    Section(
        "mistakes",
        "The most confident errors",
        "Errors of the first seed of each method with the highest confidence.",
        (Figure("mistakes", "Misclassified test images with the highest confidence", pictures.mistakes, raster=True),),
    ),
    Section(
        "provenance",
        "Provenance",
        "The options that all runs share, and every run.",
        (provenance.options, provenance.versions, accuracy_tables.runs),
        folded=True,
    ),
)
