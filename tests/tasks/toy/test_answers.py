import torch

from unrolled.tasks.toy.answers import right_answers
from unrolled.tasks.toy.problems import Adding, CopyMemory, Hello
from unrolled.tasks.toy.reber import SYMBOLS, Reber


def scores(said, num):
    return torch.nn.functional.one_hot(torch.tensor(said), num).float()


def of(toy, answers, targets, rows=()):
    found = right_answers(toy, answers, targets, rows)
    return {name: right.tolist() for name, right in found.items()}


def test_a_sum_is_correct_within_its_tolerance():
    targets = torch.tensor([1.0, 1.0, 0.2])
    found = of(Adding(), torch.tensor([1.03, 0.95, 0.2]), targets)
    assert found == {"correct_sums": [True, False, True]}


def test_only_what_was_to_be_recalled_counts():
    targets = torch.tensor([0, 0, 3, 8])
    found = of(CopyMemory(), scores([5, 0, 3, 7], 10), targets)
    assert found == {"recalled_symbols": [True, False]}


def test_every_character_counts():
    assert of(Hello(), scores([0, 1], 4), torch.tensor([0, 2])) == {"accuracy": [True, False]}


def numbers(string):
    return [SYMBOLS.index(symbol) for symbol in string]


def row(string):
    ids = torch.tensor(numbers(string))
    return ids[:-1], ids[1:]


def test_any_symbol_that_the_grammar_allows_is_legal():
    # of BTXSE and BPVVE; after B come T or P, after BT S or X, after BTX X or S, then E
    rows = [row("BTXSE"), row("BPVVE")]
    targets = torch.cat([targets for _, targets in rows])
    said = numbers("PSXB" + "TTPE")
    right = of(Reber(), scores(said, 7), targets, rows)["legal_symbols"]
    assert right == [True, True, True, False, True, True, True, True]


def test_the_frame_is_closed_as_it_was_opened():
    # the last symbol but one, T or P whichever has the higher score
    rows = [row("BTBTXSETE"), row("BPBTXSEPE")]
    targets = torch.cat([targets for _, targets in rows])
    answers = scores(numbers("TBTXSEEE" + "PBTXSETE"), 7)
    answers[6, SYMBOLS.index("T")] = 0.5  # says E, but T rather than P
    assert of(Reber(embedded=True), answers, targets, rows)["closed_frames"] == [True, False]
