"""Words that show that a score or verdict is withdrawn, supposed, denied or only quoted."""

import re

_FLAGS = re.ASCII | re.IGNORECASE | re.VERBOSE

_TAKEN_BACK = re.compile(
    r"""\b(?: wait\b\s*+[,.!…:—–-] | hmm | scratch\ that | correction\b
      | on\ (?:second\ thoughts?|further\ (?:thought|reflection)|reflection|reconsideration)
      | let\ me\ (?:re-?\w+|correct|fix|adjust|change|amend|double-check)
      | (?:I|we)(?>(?:\ (?:now|must|should|need\ to|have\ to|want\ to|would|will)|['’](?:d|ll))*)
        \ (?:revise|reconsider|correct|change|raise|lower|upgrade|downgrade|amend|retract)
      | my\ (?:mistake|bad|error) | I\ (?:made\ an?\ (?:mistake|error)|mis(?:counted|read|judged))
      | sorry\b\s*+[,.!:—–-] | I\ apologi[sz]e
      | make\ (?:it|that)\ (?:an?\ )?\d(?!-?\s*(?!points?\b)[A-Za-z])
      | (?:should|must|ought\ to)\ (?:really\ |rather\ |actually\ )?(?:be|have\ been)\ (?:an?\ )?\d
        (?!\s*(?!points?\b)[A-Za-z])
      | actually\b,?\ (?:(?:it|this|that|I|the|an?|my)\b[^.\n]{0,60}(?:\d|\b[AB]\b)|no\b|\d|[AB]\b)
      | no,\ (?:it|rather|make|that|I|\d|[AB]\b) | I\ take\ (?:it|that)\ back )""",
    _FLAGS,
)
_DENIED = re.compile(
    r"""\b(?:not|no|never|neither|nor|if|for|than|to|short|miss\w*|lack\w*|need\w*|requir\w*
      |prevent\w*|without|unless|otherwise|once|when|could|might|may|perhaps|maybe|almost|nearly
      |close|cannot|instead|says?|said|claim\w*|states?|stated|asks?|asked|wants?|argues?)\b
      | n['’]t | \A\W*+(?:with|had|were|given|assuming|suppos\w+)\b""",
    _FLAGS,
)
_CONDITION = re.compile(r"\b(?:if|unless)\b | \A\W*+(?:had|were|assuming|suppos\w+)\b", _FLAGS)
_NEGATION = re.compile(
    r"\b(?:not|no|never|neither|nor|cannot|rather\ than|instead\ of)\b | n['’]t", _FLAGS
)
_CONDITION_BEHIND = re.compile(
    r"[^\w\n]*+ (?: if|unless|would|could|might|is\ (?:not|wrong) | isn['’]t )\b", _FLAGS
)
_MODAL = re.compile(r"\b(?:would|should|must)\b | ['’]d\b", _FLAGS)
_LEAD = r"""\W*+ (?> (?: (?:so|thus|therefore|hence|overall|and|finally|all\ in\ all|accordingly
            |consequently|in\ (?:short|summary|conclusion|total)|(?:based\ on|after)\ [^,]{1,60}+)
            \b,?\W*+ )* )"""
_FIRST_PERSON = re.compile(rf"{_LEAD} (?:I|we)\b", _FLAGS)
_ABOUT_THE_RESPONSE = re.compile(
    rf"""{_LEAD} (?: (?:I|we|it|this|these|my|which|that|resulting|leading|earning|giving|bringing
      |totall?ing|yielding|achieving|receiving)\b
      | the\ (?!perfect|ideal|best|flawless|reference|other|previous|next|maximum|highest|lowest)
        (?:[\w'’-]+\ ){{0,2}} (?:response|answer|assistant|ai|model|output|reply|score|total)\b )
    """,
    _FLAGS,
)
_CLAUSE = re.compile(r"[,;:—–] | \b(?:and|so|hence|thus|therefore)\b", _FLAGS)
_WORD = re.compile(r"[^\W\d_]+")


def takes_back(words: str) -> bool:
    """Whether the words after a conclusion withdraw it: `Wait, ...`, `on reflection B`."""
    return _TAKEN_BACK.search(words) is not None


def is_denied(before: str) -> bool:
    """Whether the words before a number deny it or make it depend on a condition."""
    return _DENIED.search(before) is not None


def is_rejected(before: str, behind: str) -> bool:
    """Whether the sentence around a verdict denies it: `not [[A]]`, `[[A]] if it were shorter`."""
    clause = _CLAUSE.split(before)[-1]
    conditional = _CONDITION.search(before) or _CONDITION_BEHIND.match(behind)
    return conditional is not None or _NEGATION.search(clause) is not None


def is_supposed(before: str, named: bool) -> bool:
    """Whether a sentence is about what could be, or about another response than the judged one.

    Args:
        before: The words of the sentence before the number.
        named: The number has a label with a colon, so the sentence needs no subject.
    """
    if is_denied(before):
        return True
    if _MODAL.search(before):
        return not _FIRST_PERSON.match(before)
    if named:
        return False
    clauses = [part for part in _CLAUSE.split(before) if part.strip()]
    return not clauses or not _ABOUT_THE_RESPONSE.match(clauses[-1])


def is_quoted(before: str, between: str, behind: str, outside_words: frozenset[str]) -> bool:
    """Whether a score or verdict is a quotation, and so not the judge's own.

    A line that is only `"Score: 4"` is the judge's own: prompts show the form in quotes.

    Args:
        before: The line before the score or verdict.
        between: The label, up to the number or letter. If a quotation ends there, only the label
            is in quotes.
        behind: The rest of the line.
        outside_words: Words in lower case that may be outside the quotes of the judge's own score.
    """
    if before.lstrip().startswith(">"):
        return True
    opened = _open_quote(before)
    if opened < 0 or any(mark in between for mark in "\"'”’`"):
        return False
    outside = {word.lower() for word in _WORD.findall(before[:opened])}
    closed = re.search(r"[\"'”’`](?P<after>[^\n]*+)", behind)
    after = closed["after"] if closed else behind
    return not outside <= outside_words or bool(_WORD.search(after))


def _open_quote(line: str) -> int:
    """Where the quotation begins that is still open at the end of the line; -1 if there is none."""
    opened = [-1]
    for mark in ('"', "`"):
        if line.count(mark) % 2:
            opened.append(line.rindex(mark))
    for left, right in ("“”", "‘’"):
        if line.count(left) > len(re.findall(rf"{right}(?!\w)", line)):
            opened.append(line.rindex(left))
    single = re.compile(r"(?P<opens>(?<![\w'])'(?=[\w*\[]|\Z))|(?<=[\w.,!?*\]])'(?!\w)")
    found = list(single.finditer(line))
    starts = [one.start() for one in found if one["opens"] is not None]
    if len(starts) * 2 > len(found):
        opened.append(starts[-1])
    return max(opened)
