"""Class names of the traffic-sign data sets, in the order of a net's outputs."""

from typing import Literal

from blurnet.checks import one_of

#: Outputs of a net on LISA: 17, or 18 of which output 0 is unused.
Outputs = Literal[17, 18]

#: The 17 LISA classes of RP2 (Eykholt et al. 2018), in the order of the authors' ``mapping.txt``.
LISA_CLASSES: tuple[str, ...] = (
    "addedLane",
    "keepRight",
    "laneEnds",
    "merge",
    "pedestrianCrossing",
    "school",
    "schoolSpeedLimit25",
    "signalAhead",
    "speedLimit25",
    "speedLimit30",
    "speedLimit35",
    "speedLimit45",
    "speedLimitUrdbl",
    "stop",
    "stopAhead",
    "turnRight",
    "yield",
)

#: The authors' net has 18 outputs and labels counted from 1: output 0 is never used, stop is 14 and the
#: published target 12 is speedLimit45.
LISA_OUTPUTS_18: tuple[str, ...] = ("(unused)", *LISA_CLASSES)

#: GTSRB (Stallkamp et al. 2012), class ids 0 to 42.
GTSRB_CLASSES: tuple[str, ...] = (
    "speedLimit20",
    "speedLimit30",
    "speedLimit50",
    "speedLimit60",
    "speedLimit70",
    "speedLimit80",
    "endOfSpeedLimit80",
    "speedLimit100",
    "speedLimit120",
    "noPassing",
    "noPassingForTrucks",
    "rightOfWayAtNextIntersection",
    "priorityRoad",
    "yield",
    "stop",
    "noVehicles",
    "noTrucks",
    "noEntry",
    "generalCaution",
    "dangerousCurveLeft",
    "dangerousCurveRight",
    "doubleCurve",
    "bumpyRoad",
    "slipperyRoad",
    "roadNarrowsOnRight",
    "roadWork",
    "trafficSignals",
    "pedestrians",
    "childrenCrossing",
    "bicyclesCrossing",
    "iceOrSnow",
    "wildAnimalsCrossing",
    "endOfAllLimits",
    "turnRightAhead",
    "turnLeftAhead",
    "aheadOnly",
    "straightOrRight",
    "straightOrLeft",
    "keepRight",
    "keepLeft",
    "roundaboutMandatory",
    "endOfNoPassing",
    "endOfNoPassingForTrucks",
)


def label_names(outputs: Outputs = 18) -> tuple[str, ...]:
    """Names of the LISA classes in output order.

    Args:
        outputs: 18 for the authors' numbering (output 0 unused, stop = 14), 17 for the dense one (stop = 13).

    Raises:
        ValueError: for any other number of outputs.
    """
    return LISA_CLASSES if one_of(outputs, Outputs, "outputs") == 17 else LISA_OUTPUTS_18
