import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from unrolled.data.batching import IGNORE
from unrolled.errors import OptionError
from unrolled.tasks.lm.columns import Columns
from unrolled.tasks.lm.tbptt import TruncatedBPTT
from unrolled.training.distributed import Processes

V, H = 5, 3


class Elman(nn.Module):
    """A recurrent language model in four lines, in float64, that also counts the steps it reads."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.w_x, self.w_h, self.w_y = (
            nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64))
            for shape in ((V, H), (H, H), (H, V))
        )
        self.steps_read = 0

    def step(self, token, h):
        return torch.tanh(self.w_x[token] + h @ self.w_h)

    def forward(self, tokens, state=None):
        h = torch.zeros(len(tokens), H, dtype=torch.float64) if state is None else state[0]
        steps = []
        for token in tokens.T:
            self.steps_read += 1
            h = self.step(token, h)
            steps.append(h)
        hidden = torch.stack(steps, 1)  # (B, T, H)
        return hidden @ self.w_y, hidden[None, :, -1]  # the state is a view


def columns_of(num_tokens: int, num_columns: int) -> Columns:
    generator = torch.Generator().manual_seed(0)
    return Columns(torch.randint(V, (num_tokens,), generator=generator), num_columns)


def by_hand(columns: Columns, k1: int, k2: int, learning_rate: float) -> list[torch.Tensor]:
    """The flat gradient of each update of one epoch with plain SGD, one step at a time.

    `states[t]` is the state before step t, as the latest update that passed there saw it.
    """
    model = Elman()
    inputs, targets = columns.window(0, columns.num_steps)
    states = {0: torch.zeros(columns.num_columns, H, dtype=torch.float64)}
    gradients = []
    for first in range(0, columns.num_steps, k1):
        loss = torch.zeros((), dtype=torch.float64)
        start = max(0, first + k1 - k2)
        h = states[start]
        for t in range(start, min(first + k1, columns.num_steps)):
            h = model.step(inputs[:, t], h)
            states[t + 1] = h.detach()
            if t >= first:
                scores = h @ model.w_y
                loss = loss + F.cross_entropy(scores, targets[:, t], reduction="sum")
        model.zero_grad()
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= learning_rate * parameter.grad
    return gradients


@pytest.mark.parametrize(
    ("k1", "k2"), [(4, 4), (4, 6), (2, 5), (2, 6), (3, 20), (1, 7), (5, 6), (30, 30)]
)
def test_gradients_are_those_of_backpropagation_through_k2_steps(k1, k2):
    columns = columns_of(num_tokens=2 * 19 + 1, num_columns=2)
    model = Elman()
    windows = TruncatedBPTT(columns, k1, k2)
    for expected in by_hand(columns, k1, k2, learning_rate=0.05):
        model.zero_grad()
        loss, _ = windows.next_window(model)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=1e-12)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.05 * parameter.grad
    assert windows.position == 0


def test_each_update_reads_k2_steps():
    windows, model = TruncatedBPTT(columns_of(201, 2), k1=4, k2=10), Elman()
    read = []
    for _ in range(5):
        before = model.steps_read
        windows.next_window(model)
        read.append(model.steps_read - before)
    assert read == [4, 8, 10, 10, 10]


@given(
    num_tokens=st.integers(2, 40),
    num_columns=st.integers(1, 5),
    k1=st.integers(1, 12),
    more=st.integers(0, 12),
    world_size=st.integers(1, 2),
)
def test_every_token_after_the_first_is_predicted_once_an_epoch(
    num_tokens, num_columns, k1, more, world_size
):
    world_size = min(world_size, num_columns)
    columns = columns_of(num_tokens, num_columns)
    total = 0
    for rank in range(world_size):
        windows = TruncatedBPTT(columns, k1, k1 + more, Processes(rank, world_size))
        model = Elman()
        for _ in range(windows.updates_per_epoch):
            total += windows.next_window(model)[1]
        assert windows.position == 0
    assert total == num_tokens - 1


def test_losses_of_an_epoch_are_those_of_one_pass_over_the_columns():
    columns, model = columns_of(38, 3), Elman()
    scores, _ = model(columns.window(0, columns.num_steps)[0])
    targets = columns.window(0, columns.num_steps)[1]
    expected = F.cross_entropy(
        scores.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    for k1, k2 in ((4, 4), (4, 7)):
        windows = TruncatedBPTT(columns, k1, k2)
        for _ in range(2):  # a new epoch starts with a fresh state
            losses = [windows.next_window(model)[0] for _ in range(windows.updates_per_epoch)]
            torch.testing.assert_close(sum(losses), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("done", range(6))
def test_goes_on_where_its_state_dict_was_taken(done):
    columns, model = columns_of(60, 3), Elman()
    one, two = TruncatedBPTT(columns, 3, 8), TruncatedBPTT(columns, 3, 8)
    for _ in range(done):
        one.next_window(model)
    two.load_state_dict(one.state_dict())
    for _ in range(9):
        assert one.next_window(model)[0].item() == two.next_window(model)[0].item()


def test_the_carried_state_owns_its_memory():
    windows = TruncatedBPTT(columns_of(60, 3), 3, 3)
    windows.next_window(Elman())
    assert windows.state.untyped_storage().nbytes() == 3 * H * 8
    assert not windows.state.requires_grad


@pytest.mark.parametrize(("k1", "k2"), [(0, 1), (5, 4)])
def test_too_few_steps_are_refused(k1, k2):
    with pytest.raises(OptionError, match="at least"):
        TruncatedBPTT(columns_of(60, 3), k1, k2)
