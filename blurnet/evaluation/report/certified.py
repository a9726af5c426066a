"""What a report says of certificates: the figures, the brackets, and a certificate that an attack broke."""

from collections.abc import Sequence

from torch import nn

from blurnet.evaluation.proofs import certifying, covers
from blurnet.evaluation.report.parts import Bracket, Calls, CertifiedPart, FlagPart, ImagesOn
from blurnet.evaluation.tables import Result, by_threat, certified, rate, robust

CERTIFICATE = "certificate"  #: name of the job that certifies
BROKEN = "broken-certificate"  #: the flag of an image that is certified and was broken


def certified_part(net: nn.Module, proof: Result, attacked: Sequence[Result]) -> CertifiedPart:
    """The figures of a job that certifies, beside the attacks on the same images.

    Args:
        net: the certified model.
        proof: its finished job.
        attacked: finished attacks on single images.
    """
    records, pool, flags = proof.records, proof.job.images, certified(proof)
    size = pool.size()
    return CertifiedPart(
        on=ImagesOn(pool.name, len(pool), len(pool.dataset), size, pool.group_count),
        threat=certifying(net).threat(size),
        certified=rate(flags, [proof]),
        clean=rate(records.prediction == records.label, [proof]),
        plain=rate(records.correct_before, [proof]),
        spared=any(result.job.spare for result in attacked),
        calls=Calls(int(records.calls.median()), int(records.calls.max()), int(records.calls.sum())),
        brackets=[
            Bracket(text, [result.job.name for result in group], rate(flags, [proof]), rate(robust(group), group))
            for text, group in by_threat(attacked)
            if covered(net, group[0])
        ],
    )


def covered(net: nn.Module, result: Result) -> bool:
    """Whether the certificate holds against all that an attack may change."""
    return covers(net, result.job.threat, result.job.images.size())


def contradictions(net: nn.Module, proof: Result, attacked: Sequence[Result]) -> list[FlagPart]:
    """A flag where attacks broke images that are certified against them: one of the two is wrong, by our fault."""
    found = []
    for result in attacked:
        wrong = certified(proof) & ~result.records.robust
        if bool(wrong.any()) and covered(net, result):
            evidence = {
                "images": int(wrong.sum()),
                "attack": result.job.name,
                "first": ", ".join(map(str, result.records.item[wrong][:5].tolist())),
            }
            text = "" if result.job.threat is None else result.job.threat.text
            found.append(FlagPart(BROKEN, _CAUSE, _CURE, evidence, text))
    return found[:1]


_CAUSE = (
    "An attack broke images that are certified against it. A certificate is a proof: blurnet is wrong, or the model "
    "answers one and the same image in two ways."
)
_CURE = (
    "Believe neither number. If the model is deterministic (no random layers, a plain function that answers each image "
    "alone), this is a bug of blurnet: report it with the command."
)
