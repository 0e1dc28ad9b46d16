"""Finds near-identical answers: places for a teacher to look, never verdicts.

Right answers are naturally alike: most of a cell is given, and a gap takes a line. So what counts
is not how much two answers share, but how unusual it is:

1.  An answer becomes a list of words of code, without layout, comments and docstrings. The
    student's own names become numbers, and lines that everybody was given go.
2.  Its fingerprints are hashes of `N_WORDS` words in a row, thinned out by winnowing (Schleimer,
    Wilkerson & Aiken, 2003, "Winnowing: Local Algorithms for Document Fingerprinting"). Within a
    fingerprint, names are numbered from 0, so that a renamed or added variable changes little.
3.  A fingerprint weighs as many bits as it is surprising that two students share it, given how
    many others have it. What many have weighs nothing.
4.  Two answers are compared only if they share a fingerprint that few have, or are the same after
    step 1. They are shown if what they share is worth `MARGIN` more bits than it takes to tell a
    pair of the class from all others, and if they share most of what is unusual in one of them.

A class of three or fewer says nothing of what is usual, so no pair is found in it.

Answers are hostile. They are never parsed or run, long ones are cut, and all work is bounded.
"""

import builtins
import hashlib
import itertools
import keyword
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from grading.gaps import OPEN, PLACEHOLDER

N_WORDS = 8  # in a fingerprint
WINDOW = 4  # of this many fingerprints in a row, one is kept
MARGIN = 6  # bits; among 200 made-up students who copy nothing, it leaves less than one pair
MAX_CHARACTERS = 100_000  # of an answer
MAX_WORDS = 2_000  # of its own
MAX_CANDIDATES = 1_000_000  # pairs that share something rare

_WORD = re.compile(
    r'''
      (?P<comment> \#[^\n]*+ )
    | (?P<text> [rbuftRBUFT]{0,2}+ (?:
          """ (?: [^"\\]++ | \\. | "(?!"") )*+ (?:""")?+
        | \'\'\' (?: [^'\\]++ | \\. | '(?!'') )*+ (?:\'\'\')?+
        | " (?: [^"\\\n]++ | \\. )*+ "?+
        | ' (?: [^'\\\n]++ | \\. )*+ '?+
      ) )
    | (?P<name> [^\W\d]\w*+ )
    | (?P<number> \.?\d (?: [eE][+-]\d | [\w.] )*+ )
    | (?P<space> [^\S\n]++ | \\\n )
    | (?P<end> [\n;] )
    | (?P<sign> \*\*=? | //=? | >>=? | <<=? | -> | [-+*/%@&|^=!<>:]= | . )
    ''',
    re.VERBOSE | re.DOTALL,
)
_QUOTES = re.compile(r"""^[a-zA-Z]*(?:\"{3}|'{3}|["'])|(?:\"{3}|'{3}|["'])$""")
_FIXED = frozenset([*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "self", "cls"])


@dataclass(frozen=True)
class Pair:
    """Two answers to look at side by side.

    Attributes:
        first, second: the students' keys.
        exercise: the exercise's name.
        similarity: the share of what is unusual in one answer that is in the other too, 0 to 1.
        first_source, second_source: the answers.
        first_lines, second_lines: the lines, from 1, with what is unusual and in both.
    """

    first: str
    second: str
    exercise: str
    similarity: float
    first_source: str
    second_source: str
    first_lines: frozenset[int] = frozenset()
    second_lines: frozenset[int] = frozenset()


class _Word(NamedTuple):
    text: str
    is_own: bool  # a name that may be the student's own
    line: int = 0


class _Find(NamedTuple):
    bits: float
    similarity: float
    first: str
    second: str
    shared: frozenset[bytes]  # fingerprints that few have


@dataclass(frozen=True)
class _Answer:
    """What answers have that are the same but for layout and names.

    Attributes:
        students: the keys of those who gave it, in order.
        words: its own words.
        places: where each of its fingerprints is first, as a number of words.
    """

    students: list[str]
    words: list[_Word]
    places: dict[bytes, int]


def find_pairs(
    answers: Mapping[str, Mapping[str, str]],
    given: Mapping[str, str],
    least: float = 0.9,
    most: int = 200,
) -> list[Pair]:
    """Finds pairs of answers that share what is unusual in this class, the most unusual first.

    In a group of answers that are the same, the first is paired with each of the others.

    Args:
        answers: the source of each exercise cell, by the student's key and the exercise's name.
        given: by the exercise's name, the cell as students get it. Whatever else must not count,
            such as the solution, may stand below it.
        least: the least similarity.
        most: the number of pairs that are returned at most.
    """
    names = {word.text for text in given.values() for line in _read_lines(text) for word in line}
    by_exercise: dict[str, dict[str, str]] = defaultdict(dict)
    for key in sorted(answers):
        for exercise, source in answers[key].items():
            by_exercise[exercise][key] = source
    found = []
    for exercise, sources in by_exercise.items():
        ways = _group(sources, given.get(exercise, ""), names)
        found += ((exercise, find) for find in _compare(ways, len(sources), least))
    found.sort(key=lambda item: (-item[1].bits, item[0], item[1].first, item[1].second))
    return [_make_pair(exercise, find, answers, given, names) for exercise, find in found[:most]]


def _make_pair(
    exercise: str,
    find: _Find,
    answers: Mapping[str, Mapping[str, str]],
    given: Mapping[str, str],
    names: set[str],
) -> Pair:
    given_lines = _line_texts(given.get(exercise, ""))
    sources = [answers[key][exercise] for key in (find.first, find.second)]
    words = [_own_words(source, given_lines, names) for source in sources]
    lines = [_lines_with(find.shared, own) for own in words]
    return Pair(find.first, find.second, exercise, find.similarity, *sources, *lines)


def _group(sources: Mapping[str, str], given: str, names: set[str]) -> list[_Answer]:
    """Returns the different answers; those without code of their own are left out."""
    given_lines = _line_texts(given)
    given_prints = {_hash(words) for words in _runs(_own_words(given, set(), names))}
    read: dict[str, bytes] = {}
    ways: dict[bytes, _Answer] = {}
    for key, source in sources.items():
        if source not in read:
            words = _own_words(source, given_lines, names)
            read[source] = _hash(words) if words else b""
            if words and read[source] not in ways:
                ways[read[source]] = _Answer([], words, _find_prints(words, given_prints))
        if read[source]:
            ways[read[source]].students.append(key)
    return list(ways.values())


def _compare(ways: list[_Answer], n_students: int, least: float) -> Iterator[_Find]:
    """Yields the pairs to look at."""
    n_having = Counter()
    for answer in ways:
        n_having.update(dict.fromkeys(answer.places, len(answer.students)))
    few = min(max(3, n_students // 50), 10, n_students // 2)
    many = max(few, n_students // 10)
    weights = {
        fingerprint: math.log2((n_students + 2) / max(1, n - 1))
        for fingerprint, n in n_having.items()
        if n <= many
    }
    needed = math.log2(max(1, math.comb(n_students, 2))) + MARGIN
    totals = [_sum(answer.places, weights) for answer in ways]

    rare = {fingerprint for fingerprint, n in n_having.items() if 1 < n <= few}
    for i, j in _candidates(ways, rare):
        shared = ways[i].places.keys() & ways[j].places.keys()
        similarity = _sum(shared, weights) / (min(totals[i], totals[j]) or 1)
        bits = _evidence(shared, ways[i], weights)
        if similarity >= least and bits >= needed:
            first, second = sorted((ways[i].students[0], ways[j].students[0]))
            yield _Find(bits, similarity, first, second, frozenset(shared & weights.keys()))
    for answer in ways:
        first, *others = answer.students
        if others and (bits := _evidence(answer.places, answer, weights)) >= needed:
            shared = frozenset(answer.places.keys() & weights.keys())
            yield from (_Find(bits, 1.0, first, other, shared) for other in others)


def _candidates(ways: list[_Answer], rare: set[bytes]) -> set[tuple[int, int]]:
    """Returns the pairs of different answers that share something rare, the rarest first."""
    having = defaultdict(list)
    for i, answer in enumerate(ways):
        for fingerprint in answer.places:
            if fingerprint in rare:
                having[fingerprint].append(i)
    pairs = set()
    for _, indices in sorted(having.items(), key=lambda item: (len(item[1]), item[0])):
        pairs.update(itertools.combinations(indices, 2))
        if len(pairs) > MAX_CANDIDATES:
            break
    return pairs


def _sum(fingerprints: Iterable[bytes], weights: Mapping[bytes, float]) -> float:
    return math.fsum(weights.get(fingerprint, 0.0) for fingerprint in fingerprints)


def _evidence(shared: Iterable[bytes], answer: _Answer, weights: Mapping[bytes, float]) -> float:
    """Returns what shared fingerprints weigh together.

    Those that overlap count once. One that repeats words of others, as three similar lines do, only
    counts as far as its words are new: one habit is no proof, however often it shows.
    """
    bits, end, seen = 0.0, 0, set()
    for place, weight in sorted((answer.places[f], weights[f]) for f in shared if f in weights):
        if place >= end:
            end = place + N_WORDS
            texts = ["" if is_own else text for text, is_own, _ in answer.words[place:end]]
            twos = set(itertools.pairwise(texts))
            bits += weight * len(twos - seen) / len(twos)
            seen |= twos
    return bits


# Words and fingerprints


def _own_words(source: str, given_lines: set[tuple[str, ...]], names: set[str]) -> list[_Word]:
    """Returns the words of the lines that were not given; names in `names` are nobody's own."""
    lines = (
        line for line in _read_lines(source) if tuple(word.text for word in line) not in given_lines
    )
    words = itertools.islice(itertools.chain.from_iterable(lines), MAX_WORDS)
    return [_Word(text, is_own and text not in names, line) for text, is_own, line in words]


def _line_texts(source: str) -> set[tuple[str, ...]]:
    return {tuple(word.text for word in line) for line in _read_lines(source)}


def _read_lines(source: str) -> Iterator[list[_Word]]:
    """Yields the words of each statement or block header, without docstrings and open gaps."""
    source = PLACEHOLDER.sub(" ", source[:MAX_CHARACTERS].replace("\0", ""))
    if not source.isascii():
        source = unicodedata.normalize("NFKC", source)[:MAX_CHARACTERS]
    line, depth, is_code, number = [], 0, False, 1
    for match in itertools.chain(_WORD.finditer(source), [None]):
        kind, text = (match.lastgroup, match[0]) if match else ("end", "")
        first, number = number, number + text.count("\n")
        if kind in ("comment", "space") or (kind == "end" and match and depth):
            continue
        if kind == "end":
            if is_code:
                yield line
            line, is_code = [], False
            continue
        if text in ("(", "[", "{"):
            depth += 1
        elif text in (")", "]", "}"):
            depth = max(0, depth - 1)
            if line and line[-1].text == ",":
                line.pop()
        if text != OPEN:
            is_code = is_code or kind != "text"
            _add(line, kind, text, depth, first)


def _add(line: list[_Word], kind: str, text: str, depth: int, number: int) -> None:
    """Adds a word to a line, in the form in which it is compared."""
    if text == "=" and depth and line:
        line[-1] = line[-1]._replace(is_own=False)  # a keyword argument
    is_own = kind == "name" and text not in _FIXED and not (line and line[-1].text == ".")
    if kind == "text":
        text = f"'{_QUOTES.sub('', text)}'"
    elif kind == "number":
        text = text.replace("_", "").lower()
    line.append(_Word(text, is_own, number))


def _find_prints(words: list[_Word], given_prints: set[bytes]) -> dict[bytes, int]:
    """Returns where each fingerprint that winnowing keeps is first."""
    hashes = [_hash(run) for run in _runs(words)]
    places: dict[bytes, int] = {}
    for start in range(max(1, len(hashes) - WINDOW + 1)):
        window = range(start, min(start + WINDOW, len(hashes)))
        if window:
            place = min(window, key=lambda i: (hashes[i], -i))
            if hashes[place] not in given_prints:
                places.setdefault(hashes[place], place)
    return places


def _lines_with(fingerprints: Collection[bytes], words: list[_Word]) -> frozenset[int]:
    runs = (run for run in _runs(words) if _hash(run) in fingerprints)
    return frozenset(word.line for run in runs for word in run)


def _runs(words: list[_Word]) -> Iterator[list[_Word]]:
    return (words[i : i + N_WORDS] for i in range(len(words) - N_WORDS + 1))


def _hash(words: Iterable[_Word]) -> bytes:
    """Hashes words; own names are numbered in the order in which they appear."""
    numbers: dict[str, str] = {}
    texts = (
        numbers.setdefault(text, f"\0{len(numbers)}") if is_own else text
        for text, is_own, _ in words
    )
    return hashlib.blake2b("\n\0".join(texts).encode(errors="replace"), digest_size=8).digest()
