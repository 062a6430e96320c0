"""What is measured: the works that the issue names, each with a target that exists."""

import pytest

from unrolled.benchmark import targets
from unrolled.benchmark.grid import OURS, PROCESSES, Work, all_works, base_of, peers_of, process_of


@pytest.mark.parametrize("quick", [False, True])
def test_every_title_is_its_own(quick):
    titles = [work.title for work in all_works(quick=quick)]
    assert len(set(titles)) == len(titles) > 15


def test_every_target_belongs_to_a_work_and_a_peer_that_are_measured():
    measured = {(w.section, w.mode, p, w.shape) for w in all_works() for p in peers_of(w)}
    wanted = {(*key, shape) for key, ratios in targets._RATIOS.items() for shape in ratios}
    assert wanted <= measured


def test_no_target_is_asked_of_small_works():
    assert not any(targets.target(w, p) for w in all_works(quick=True) for p in peers_of(w))


def test_targets_are_of_the_work_the_mode_and_the_peer():
    training = Work("lstm", "training", 64, 128, 256, 256)
    assert targets.target(training, "torch.nn") == 1.2
    assert targets.target(training, "torch.nn, tuned") == 0.97
    assert targets.target(training, "JAX") is None
    forward = Work("lstm", "forward", 64, 128, 256, 256)
    assert targets.target(forward, "torch.nn") == 1.0
    assert targets.target(Work("lstm", "forward", 64, 128, 64, 256), "torch.nn") is None


def test_a_peer_is_compared_with_ours_under_the_same_allocator():
    assert base_of("torch.nn, tuned") == f"{OURS}, tuned"
    assert base_of("torch.nn") == base_of("JAX") == OURS
    peers = {peer for work in all_works() for peer in peers_of(work)}
    assert {process_of(peer) for peer in peers} == set(PROCESSES)


def test_the_operations_of_a_forward_pass_are_two_for_each_weight_and_step():
    work = Work("gru", "forward", rows=2, steps=5, input_size=3, hidden_size=4)
    weights = 3 * 4 * 3 + 3 * 4 * 4
    assert work.forward_flop == 2 * weights * 2 * 5


def test_the_operations_of_a_tcn_are_those_of_taps_that_see_a_step():
    work = Work("tcn", "forward", rows=2, steps=3, input_size=2, hidden_size=4, num_layers=2)
    near = 3 + 2 + 1  # steps that the taps of dilation 1 see, of seven; then of dilation 2
    far = 3 + 1
    numbers = near * (2 + 4) + 3 * 2 + far * (4 + 4)
    assert work.forward_flop == 2 * 2 * 4 * numbers
