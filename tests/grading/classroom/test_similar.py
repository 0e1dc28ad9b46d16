"""Near-identical answers are found by what is unusual in them."""

import random
import time

import pytest

from grading.classroom.similar import MAX_WORDS, Pair, find_pairs

GIVEN = '''\
# Exercise: loss
def train(states, rewards, gamma=0.99):
    """Takes one step."""
    values = agent(states)
    <YOUR CODE: the targets>

    error = <YOUR CODE: from targets and values>
    <YOUR CODE>
    return error
'''

# The gaps of somebody with habits of their own.
UNUSUAL = (
    "padded = [*rewards, 0.0]\n"
    "    for k in range(len(padded) - 2, -1, -1):\n"
    "        padded[k] = padded[k] + gamma * padded[k + 1]\n"
    "    targets = np.asarray(padded)[:-1]",
    "sum(abs(u - v) ** 2.0 for u, v in zip(targets, values)) / max(1, len(values))",
    "for _, p in sorted(agent.named_parameters(), key=lambda item: item[0]):\n"
    "        p.data.sub_(0.0003 * p.grad.clamp(-40, 40))",
)


def fill(*gaps):
    before, first, second, after = (part.split(">")[-1] for part in GIVEN.split("<YOUR CODE"))
    return before + gaps[0] + first + gaps[1] + second + gaps[2] + after


def ordinary(rng):
    """Returns a right answer, made of choices that many make."""
    name = rng.choice(["targets", "y", "goal", "td", "out"])
    step = rng.choice(["rewards + gamma * values", "gamma * values + rewards"])
    power = rng.choice([f"({name} - values) ** 2", f"torch.square({name} - values)"])
    mean = rng.choice([f"torch.mean({power})", f"({power}).mean()"])
    calls = ["opt.zero_grad()", "error.backward()", "opt.step()"]
    return fill(f"{name} = {step}", mean, "\n    ".join(calls))


def make_class(n_students, seed=0):
    rng = random.Random(seed)
    return {f"student{i:05}": {"loss": ordinary(rng)} for i in range(n_students)}


def find(answers, **options):
    pairs = find_pairs(answers, {"loss": GIVEN}, **options)
    return [(pair.first, pair.second) for pair in pairs]


@pytest.mark.parametrize("n_students", [0, 1, 2, 3, 10, 50, 200])
def test_what_many_have_in_common_is_no_pair(n_students):
    assert find(make_class(n_students)) == []


def test_unusual_answers_that_are_the_same_are_a_pair():
    answers = make_class(198)
    answers["student00007"] = answers["student00150"] = {"loss": fill(*UNUSUAL)}
    lines = frozenset({5, 6, 7, 8, 10, 11, 12})  # the gaps
    sources = (fill(*UNUSUAL), fill(*UNUSUAL))
    assert find_pairs(answers, {"loss": GIVEN}) == [
        Pair("student00007", "student00150", "loss", 1.0, *sources, lines, lines)
    ]


def test_one_unusual_answer_is_no_pair():
    assert find(make_class(198) | {"student00007": {"loss": fill(*UNUSUAL)}}) == []


def disguised():
    """Returns the unusual answer with other names, layout, comments, quotes and docstrings."""
    targets, error, step = UNUSUAL
    for old, new in (("padded", "χs"), ("[k", "[tick"), ("for k", "for tick"), ("0.0]", "0.0,]")):
        targets = targets.replace(old, new)
    error = error.replace("u - v", "one -\n      other").replace("u, v", "one,other")
    step = step.replace(" p ", " weight ").replace("p.", "weight.").replace("item", "pair")
    step = step.replace(", p in", ",  weight in").replace("_,", "_ ,")
    source = fill("# all my own work\n    " + targets, f"({error}\n)"[1:-2], step)
    return source.replace('"""Takes one step."""', "'''My own.'''").replace("\n", "  # why\n", 3)


def test_disguises_do_not_help():
    compile(disguised(), "disguised", "exec")
    answers = make_class(198)
    answers |= {"a": {"loss": fill(*UNUSUAL)}, "b": {"loss": disguised()}}
    [pair] = find_pairs(answers, {"loss": GIVEN})
    assert (pair.first, pair.second, pair.similarity) == ("a", "b", 1.0)
    assert pair.second_source == disguised()
    lines = disguised().split("\n")
    unusual = {lines[number - 1].strip() for number in pair.second_lines}
    assert {"targets = np.asarray(χs)[:-1]", "other) ** 2.0 for one,other in"} & unusual
    assert not unusual & {"# all my own work", "values = agent(states)", "return error", ""}


def test_code_that_is_added_does_not_hide_a_copy():
    more = "\n    print(states.shape, rewards.min(), values.max(), 'debug', sep=' | ', end='!')" * 3
    answers = make_class(198)
    answers |= {"a": {"loss": fill(*UNUSUAL)}, "b": {"loss": fill(*UNUSUAL[:2], UNUSUAL[2] + more)}}
    assert find(answers) == [("a", "b")]


def test_one_gap_in_common_is_no_pair():
    answers = make_class(198)
    own = "targets = rewards + gamma * values"
    answers |= {"a": {"loss": fill(*UNUSUAL)}, "b": {"loss": fill(own, UNUSUAL[1], "opt.step()")}}
    assert find(answers) == []


def test_one_habit_is_no_proof_however_often_it_shows():
    habit = "\n    ".join(f"states = weird.odd_activation(layers[{i}](states))" for i in range(4))
    answers = make_class(198)
    answers["a"] = {"loss": fill(habit, "torch.mean(states)", "opt.step()")}
    answers["b"] = {"loss": fill(habit, "(values - states).abs().max()", "error.backward()")}
    assert find(answers, least=0.1) == []


def test_a_long_answer_of_more_than_a_few_is_shown_as_few_pairs():
    answers = make_class(192) | {f"x{i}": {"loss": fill(*UNUSUAL)} for i in range(8)}
    assert find(answers) == [("x0", f"x{i}") for i in range(1, 8)]
    assert find(answers, most=3) == [("x0", "x1"), ("x0", "x2"), ("x0", "x3")]


def test_what_a_fifth_of_the_class_wrote_is_common():
    answers = make_class(160) | {f"x{i}": {"loss": fill(*UNUSUAL)} for i in range(40)}
    assert find(answers) == []


def test_given_code_and_open_gaps_do_not_count():
    answers = make_class(196)
    answers |= {key: {"loss": GIVEN} for key in ("a", "b")}
    answers |= {key: {"loss": GIVEN.replace(" <YOUR", " YOUR_CODE  # <YOUR")} for key in ("c", "d")}
    assert find(answers) == []


def test_a_solution_below_the_given_cell_does_not_count():
    answers = make_class(198)
    answers |= {key: {"loss": fill(*UNUSUAL)} for key in ("a", "b")}
    assert find(answers) == [("a", "b")]
    assert find_pairs(answers, {"loss": GIVEN + fill(*UNUSUAL)}) == []


def test_exercises_are_compared_each_on_its_own():
    answers = make_class(198)
    answers |= {key: {"loss": fill(*UNUSUAL)} for key in ("a", "b")}
    both = {key: sources | {"again": sources["loss"]} for key, sources in answers.items()}
    pairs = find_pairs(both, {"loss": GIVEN, "again": GIVEN})
    assert [(p.first, p.second, p.exercise) for p in pairs] == [
        ("a", "b", "again"),
        ("a", "b", "loss"),
    ]
    swapped = answers | {"b": {"again": fill(*UNUSUAL)}}
    assert find(swapped) == []


def test_the_order_of_students_does_not_matter():
    answers = make_class(190)
    answers |= {f"x{i}": {"loss": fill(*UNUSUAL)} for i in range(4)}
    answers |= {f"y{i}": {"loss": disguised().replace("40", "41")} for i in range(2)}
    keys = list(answers)
    random.Random(1).shuffle(keys)
    pairs = find_pairs(answers, {"loss": GIVEN}, least=0.5)
    assert pairs
    assert find_pairs({key: answers[key] for key in keys}, {"loss": GIVEN}, least=0.5) == pairs


HOSTILE = {
    "brackets": "(" * 10**6,
    "closed brackets": ")" * 10**6,
    "commas": ("," * 1000 + ")") * 1000,
    "quotes": '"' * 10**6,
    "open text": '"""' + "\\" * 10**6,
    "open texts": "'''a\n" * 10**5,
    "backslashes": "\\\n" * 10**6,
    "numbers": "1e+1" * 10**5,
    "a name": "a" * 10**6,
    "gaps": "<YOUR CODE: " * 10**5,
    "comments": "#" * 10**6,
    "empty lines": "\n" * 10**6,
    "long normal forms": "\ufdfa" * 10**5,
    "surrogates": "\ud800 = 1\n" * 10**4,
    "zeros": "\0" * 10**6,
    "many names": "".join(f"a{i} = b{i} * {i}; " for i in range(20_000)),
    "magics": "%%bash\nrm -rf /\n!pip it's\n" * 1000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_cost_little(name):
    source = HOSTILE[name]
    answers = make_class(20)
    answers |= {"a": {"loss": source}, "b": {"loss": source + "x"}, "c": {"loss": "x" + source}}
    start = time.perf_counter()
    pairs = find_pairs(answers, {"loss": GIVEN})
    assert time.perf_counter() - start < 5
    assert {key for pair in pairs for key in (pair.first, pair.second)} <= {"a", "b", "c"}


def test_answers_that_are_no_python_are_compared_too():
    answers = make_class(198)
    broken = fill(*UNUSUAL).replace("sum(abs", "sum((abs").replace("[:-1]", "[:-1]]")
    answers |= {key: {"loss": broken} for key in ("a", "b")}
    assert find(answers) == [("a", "b")]


def test_a_class_of_thousands_takes_seconds():
    answers = make_class(3_000)
    long = "\n".join(f"x{i} = {i} * x{i + 1} - {i}" for i in range(2 * MAX_WORDS))
    answers |= {f"long{i}": {"loss": f"{long} + {i}"} for i in range(50)}
    answers |= {key: {"loss": fill(*UNUSUAL)} for key in ("a", "b")}
    start = time.perf_counter()
    pairs = find(answers)
    assert time.perf_counter() - start < 20
    assert ("a", "b") in pairs
