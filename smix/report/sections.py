"""The sections of a report, in order, as data: each lists the tables and figures that answer one question.

A section appears if any of its parts has something to show. A new table or figure is one more entry here.
"""

from functools import partial

from smix.evaluation import cifar_c
from smix.evaluation.corruptions import suite
from smix.report import classes, cost, provenance, tables, verdict
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
            lambda comparison, assets: tables.accuracy_table(comparison.runs),
            Figure(
                "accuracy-distribution",
                "Test accuracy of each run",
                "Test accuracy of each run as a point, with the mean and one standard deviation of each method.",
                accuracy.accuracy_per_run,
            ),
            Figure(
                "accuracy-differences",
                f"Difference from {PLAIN}",
                f"Mean difference of each method from {PLAIN} over seeds with its 95 % interval, in points of test accuracy.",
                accuracy.accuracy_differences,
            ),
        ),
    ),
    Section(
        "mixes",
        "Mixes",
        "The same images under every method, as a training step uses them.",
        (
            Figure(
                "pair",
                "One pair under every method",
                "An image and its partner, and for each method their mix, the weight of each pixel, and the label weights.",
                pictures.pair,
                raster=True,
            ),
            Figure(
                "mixes",
                "Eight images under every method",
                "Eight images and their partners, and for each method their mixes, weight maps and label weights.",
                pictures.mixes,
                raster=True,
            ),
        ),
    ),
    Section(
        "pairs",
        "Every pair of methods",
        "The differences that are statistically significant, and those that so many seeds could have detected.",
        (tables.pairs, verdict.pair_sentences, tables.test_images),
        folded=True,
    ),
    Section(
        "training",
        "Training",
        "Accuracy during training, by epochs and by seconds.",
        (
            Figure(
                "accuracy-per-epoch",
                "Accuracy per epoch",
                "Accuracy of each method after each epoch: the mean and the range over seeds.",
                accuracy.accuracy_per_epoch,
            ),
            Figure(
                "accuracy-over-time",
                "Accuracy by time",
                "The same accuracy against the seconds of training; methods with masks start when these are built, if that time is known.",
                accuracy.accuracy_over_time,
            ),
        ),
    ),
    Section(
        "calibration",
        "Calibration: confidence compared with accuracy",
        verdict.overconfidence,
        (
            Figure(
                "overconfidence",
                "Overconfidence",
                "Mean confidence minus accuracy of each run: a network above 0 is overconfident, one below 0 underconfident.",
                predictions.overconfidence,
            ),
            Figure(
                "reliability",
                "Reliability diagrams",
                "Accuracy against confidence of each method, in 15 bins; a calibrated network lies on the diagonal.",
                predictions.reliability,
            ),
            tables.CALIBRATION,
        ),
    ),
    Section(
        "confidence",
        "Errors at each level of confidence",
        "How often a network is wrong when it is confident, and how many errors remain if it answers only then.",
        (
            Figure(
                "wrong-by-confidence",
                "Errors by confidence",
                "Error rate at each level of confidence, by method.",
                predictions.wrong_by_confidence,
            ),
            tables.CONFIDENCE,
            Figure(
                "risk-coverage",
                "Errors against coverage",
                "Error rate of the most confident predictions, against the share of the test images that they cover.",
                predictions.risk_coverage,
            ),
            tables.LEVEL_TABLE,
        ),
    ),
    Section(
        "classes",
        "Classes",
        "Which classes are recognised, which are confused with each other, and what changes with the method.",
        (
            Figure(
                "confusion",
                "Confusion matrices",
                "For each method, the share of each class's test images that was predicted as each class, over all seeds.",
                predictions.confusion,
            ),
            Figure(
                "confusion-change",
                f"Confusion: difference from {PLAIN}",
                f"The confusion matrix of each method minus that of {PLAIN}, in points.",
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
                    f"Accuracy on corrupted images: {label}",
                    "Accuracy on each of the corruptions, and at each severity, by method.",
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
        (
            Figure(
                "attacks",
                "Accuracy under attack",
                "Accuracy against the size of the change that an attack may make, by method.",
                robustness.attacks,
            ),
            tables.ATTACKS,
        ),
    ),
    Section(
        "background",
        "Background swap",
        "Whether a network recognises the object or its surroundings.",
        (
            Figure(
                "background",
                "Objects on other backgrounds",
                "Accuracy on unchanged test images, with another background, without the object, and without the background.",
                robustness.objects,
            ),
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
            Figure(
                "class-gain",
                "Gain of a class against its valid masks",
                f"For each method with masks, the gain of each class over {PLAIN} against the share of its masks that are valid.",
                predictions.class_gain,
            ),
            classes.gain_table,
            Figure(
                "valid-masks",
                "Valid masks",
                "Share of the masks that are valid and invalid as in figure 14.",
                pictures.valid_masks,
            ),
            Figure(
                "contact-sheet",
                "Contact sheet",
                "Images, each next to the same image with its mask in pink.",
                pictures.contact_sheet,
                raster=True,
            ),
        ),
    ),
    Section(
        "mistakes",
        "The most confident errors",
        "Errors of the first seed of each method with the highest confidence.",
        (
            Figure(
                "mistakes",
                "The most confident errors",
                "Misclassified test images with the highest confidence, by method: prediction, confidence and true class.",
                pictures.mistakes,
                raster=True,
            ),
        ),
    ),
    Section(
        "provenance",
        "Provenance",
        "The options that all runs share, and every run.",
        (provenance.options, provenance.versions, tables.runs),
        folded=True,
    ),
)
