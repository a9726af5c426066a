"""The rounds of double masking for some images side by side: one mask, then a second one where the answers differ."""

import torch
from torch import Tensor

from blurnet.certified.views import Views

UNKNOWN = -1

#: How many pairs of masks an image is shown under before it is looked at whether they agree; doubled each time. Of
#: each image's pairs those come first whose single masks left it nearest to another answer.
FIRST = 4


class Rounds:
    """What a model says of n images under one and two of M masks, as far as it was asked.

    What is asked of an image does not depend on its companions; all that is asked at one time goes to the model in
    full batches.

    Args:
        views: of the model.
        images: (n, C, H, W).
        margin: as a share of a view's largest logit, what its answer must lead by to be ``firm``.
    """

    def __init__(self, views: Views, images: Tensor, margin: float) -> None:
        self.views, self.images, self.margin = views, images, margin
        n, masks, device = len(images), len(views.hidden), images.device
        table = n, masks, masks
        self.answer = torch.full(table, UNKNOWN, device=device)  #: (n, M, M), symmetric; the diagonal has one mask
        self.lead = torch.zeros(table, device=device)  #: of the answer before the next class, in logits
        self.firm = torch.zeros(table, dtype=torch.bool, device=device)
        self.passes = torch.zeros(n, dtype=torch.int64, device=device)
        image, mask = torch.meshgrid(torch.arange(n, device=device), torch.arange(masks, device=device), indexing="ij")
        shown = self._ask(image.flatten(), mask.flatten(), mask.flatten())
        self.logits = torch.cat(shown).view(n, masks, -1)  #: (n, M, classes) under one mask
        self._first()

    def _ask(self, image: Tensor, first: Tensor, second: Tensor) -> list[Tensor]:
        """Show images under pairs of masks and note the answers; their logits, batch after batch."""
        places = torch.stack([image, first, second], 1)
        shown = []
        for part, logits in self.views.answers(self.images, places):
            lead, answer = leads(logits)
            firm = lead >= self.margin * logits.abs().amax(1)  # false of NaN
            for a, b in ((first[part], second[part]), (second[part], first[part])):
                index = image[part], a, b
                self.answer[index], self.lead[index], self.firm[index] = answer, lead.to(self.lead.dtype), firm
            shown.append(logits)
        self.passes += torch.bincount(image, minlength=len(self.images))
        return shown

    def _first(self) -> None:
        """The vote under one mask; of classes with equally many the first."""
        self.votes = self.answer.diagonal(dim1=1, dim2=2).clone()  #: (n, M)
        counts = torch.zeros(self.logits.shape[::2], dtype=torch.int64, device=self.images.device)
        counts.scatter_add_(1, self.votes, torch.ones_like(self.votes))
        ranked = counts.topk(min(2, counts.shape[1]), 1).values
        self.ahead = ranked[:, 0] - ranked[:, 1:].sum(1)  #: votes of the majority less those of the next class
        self.majority = counts.argmax(1)
        self.agreement = (self.votes == self.majority[:, None]).all(1)
        self.weakest = self.lead.diagonal(dim1=1, dim2=2).argsort(dim=1, stable=True)  #: masks of each image

    def second(self) -> Tensor:
        """The mask of each image that the second round confirms, (n,); -1 where none is, and the majority holds.

        Masks whose answer is not the majority's are tried in their order; one is confirmed where every second mask
        leaves its answer, and left at the first that does not.
        """
        confirmed = torch.full_like(self.majority, -1)
        left = self.votes != self.majority[:, None]  # the masks still to be tried
        begun = torch.zeros_like(self.majority)  # second masks looked at, in the order of the weakest
        masks = left.shape[1]
        while len(rows := left.any(1).nonzero().flatten()):
            mask = left[rows].byte().argmax(1)
            width = begun[rows].clamp(min=FIRST)
            step = torch.arange(int(width.max()), device=rows.device)
            at = begun[rows, None] + step
            looked = (step < width[:, None]) & (at < masks)
            other = self.weakest[rows].gather(1, at.clamp(max=masks - 1))
            here = rows[:, None].expand_as(other), mask[:, None].expand_as(other), other
            new = looked & (self.answer[here] == UNKNOWN)
            self._ask(*(index[new] for index in here))
            alike = ((self.answer[here] == self.votes[rows, mask][:, None]) | ~looked).all(1)
            begun[rows] = begun[rows] + width
            won = alike & (begun[rows] >= masks)
            confirmed[rows[won]] = mask[won]
            left[rows[~alike], mask[~alike]] = False
            left[rows[won]] = False
            begun[rows[~alike]] = 0
        return confirmed

    def all_pairs(self, labels: Tensor) -> Tensor:
        """Images that the model answers firmly with their label under every pair of masks, (n,) bool."""
        right = (self.votes == labels[:, None]) & self.firm.diagonal(dim1=1, dim2=2)
        open_ = right.all(1).nonzero().flatten()
        one, two = different(self.votes.shape[1], labels.device)
        near = self.lead[open_].diagonal(dim1=1, dim2=2)
        order = (near[:, one] + near[:, two]).argsort(dim=1, stable=True)
        start, width = 0, FIRST
        while len(open_) and start < len(one):
            pairs = order[:, start : start + width]
            here = open_[:, None].expand_as(pairs), one[pairs], two[pairs]
            self._ask(*(index.flatten() for index in here))
            kept = ((self.answer[here] == labels[open_, None]) & self.firm[here]).all(1)
            open_, order = open_[kept], order[kept]
            start, width = start + width, 2 * width
        return torch.zeros_like(labels, dtype=torch.bool).index_fill(0, open_, True)

    def decided(self, confirmed: Tensor) -> Tensor:
        """The defended answer of each image, (n,), from what :meth:`second` gave."""
        second = self.votes.gather(1, confirmed.clamp(min=0)[:, None]).squeeze(1)
        answer: Tensor = torch.where(confirmed < 0, self.majority, second)
        return answer

    def deciding(self, confirmed: Tensor) -> Tensor:
        """Logits (n, classes) of the view that decided: the turning one of a vote, the weakest of a second round."""
        value = self.logits[torch.arange(len(confirmed), device=confirmed.device), self._turning()]
        if len(rows := (confirmed >= 0).nonzero().flatten()):
            mask = confirmed[rows]
            shown = torch.cat(self._ask(rows, mask, self.lead[rows, mask].argmin(1)))
            # In another batch rounding may turn a view that was nearly undecided; the answer stands.
            alike = shown.argmax(1) == self.votes[rows, mask]
            value[rows] = torch.where(alike[:, None], shown, self.logits[rows, mask])
        return value

    def _turning(self) -> Tensor:
        """The mask of each image's vote that would turn the majority, (n,).

        Of the votes for the majority, the nearest to another answer go first; as many must go as it is ahead by half.
        """
        for_it = self.votes.gather(1, self.weakest) == self.majority[:, None]
        place = (for_it.cumsum(1) > self.ahead[:, None] // 2) & for_it
        return self.weakest.gather(1, place.byte().argmax(1, keepdim=True)).squeeze(1)

    def speaking(self, confirmed: Tensor) -> tuple[Tensor, Tensor]:
        """The views that spoke for the answer, (V, 3), and their weights (V,), which sum to 1 for each round.

        Of the first round all votes for it, equally; of a second round all pairs, those near to another answer more.
        """
        votes = self.votes == self.decided(confirmed)[:, None]
        image, mask = votes.nonzero().unbind(1)
        places, weights = [torch.stack([image, mask, mask], 1)], [(votes / votes.sum(1, keepdim=True))[votes]]
        rows = (confirmed >= 0).nonzero().flatten()
        other = torch.arange(votes.shape[1], device=rows.device).expand(len(rows), -1)
        pairs = torch.stack([rows[:, None].expand_as(other), confirmed[rows][:, None].expand_as(other), other], 2)
        places.append(pairs.flatten(0, 1))
        weights.append((-self.lead[rows, confirmed[rows]]).softmax(1).flatten())
        return torch.cat(places), torch.cat(weights)


def different(masks: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """All pairs of two masks, (P,) each."""
    one, two = torch.triu_indices(masks, masks, 1, device=device)
    return one, two


def leads(logits: Tensor) -> tuple[Tensor, Tensor]:
    """By how much the largest of logits (V, classes) leads, and its class, the first of equals; (V,) each."""
    answer = logits.argmax(1)
    others = logits.scatter(1, answer[:, None], -torch.inf).amax(1)
    return logits.gather(1, answer[:, None]).squeeze(1) - others, answer
