"""Words by which a judge takes back, supposes, denies or merely quotes a score or a verdict."""

import re

_I = re.ASCII | re.IGNORECASE | re.VERBOSE

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
    _I,
)
_DENIED = re.compile(
    r"""\b(?:not|no|never|neither|nor|if|for|than|to|short|miss\w*|lack\w*|need\w*|requir\w*
      |prevent\w*|without|unless|otherwise|once|when|could|might|may|perhaps|maybe|almost|nearly
      |close|cannot|instead|says?|said|claim\w*|states?|stated|asks?|asked|wants?|argues?)\b
      | n['’]t | \A\W*+(?:with|had|were|given|assuming|suppos\w+)\b""",
    _I,
)
_CONDITION = re.compile(r"\b(?:if|unless)\b | \A\W*+(?:had|were|assuming|suppos\w+)\b", _I)
_NEGATION = re.compile(
    r"\b(?:not|no|never|neither|nor|cannot|rather\ than|instead\ of)\b | n['’]t", _I
)
_OPEN = re.compile(
    r"[^\w\n]*+ (?: if|unless|would|could|might|is\ (?:not|wrong) | isn['’]t )\b", _I
)
_MODAL = re.compile(r"\b(?:would|should|must)\b | ['’]d\b", _I)
_LEAD = r"""\W*+ (?> (?: (?:so|thus|therefore|hence|overall|and|finally|all\ in\ all|accordingly
            |consequently|in\ (?:short|summary|conclusion|total)|(?:based\ on|after)\ [^,]{1,60}+)
            \b,?\W*+ )* )"""
_I_SAY = re.compile(rf"{_LEAD} (?:I|we)\b", _I)
_OWN = re.compile(
    rf"""{_LEAD} (?: (?:I|we|it|this|these|my|which|that|resulting|leading|earning|giving|bringing
      |totall?ing|yielding|achieving|receiving)\b
      | the\ (?!perfect|ideal|best|flawless|reference|other|previous|next|maximum|highest|lowest)
        (?:[\w'’-]+\ ){{0,2}} (?:response|answer|assistant|ai|model|output|reply|score|total)\b )
    """,
    _I,
)
_CLAUSE = re.compile(r"[,;:—–] | \b(?:and|so|hence|thus|therefore)\b", _I)
_WORD = re.compile(r"[^\W\d_]+")


def takes_back(words: str) -> bool:
    """Whether words behind a conclusion withdraw it: `Wait, ...`, `on reflection B`."""
    return _TAKEN_BACK.search(words) is not None


def is_denied(before: str) -> bool:
    """Whether the words of a sentence before a number deny it or make it depend on something."""
    return _DENIED.search(before) is not None


def is_rejected(before: str, behind: str) -> bool:
    """Whether the sentence around a verdict denies it: `not [[A]]`, `[[A]] if it were shorter`."""
    clause = _CLAUSE.split(before)[-1]
    conditional = _CONDITION.search(before) or _OPEN.match(behind)
    return conditional is not None or _NEGATION.search(clause) is not None


def is_supposed(before: str, named: bool = False) -> bool:
    """Whether a sentence speaks of what would be, or of another response than the judged one.

    Args:
        before: Its words before the number.
        named: The number has a label with a colon, so that no subject has to be found.
    """
    if is_denied(before):
        return True
    if _MODAL.search(before):
        return not _I_SAY.match(before)
    if named:
        return False
    clauses = [part for part in _CLAUSE.split(before) if part.strip()]
    return not clauses or not _OWN.match(clauses[-1])


def is_quoted(before: str, between: str, behind: str, own: frozenset[str] = frozenset()) -> bool:
    """Whether what stands between two parts of a line belongs to somebody else.

    A line that is nothing but `"Score: 4"` is the judge's own, for prompts show the form in quotes.

    Args:
        before: The line up to it.
        between: Its label, up to the number or letter: a quote that ends there is one of the label.
        behind: The rest of the line.
        own: Words, in lower case, that may stand outside of the quotes.
    """
    if before.lstrip().startswith(">"):
        return True
    opened = _open_quote(before)
    if opened < 0 or any(mark in between for mark in "\"'”’`"):
        return False
    outside = {word.lower() for word in _WORD.findall(before[:opened])}
    closed = re.search(r"[\"'”’`](?P<after>[^\n]*+)", behind)
    after = closed["after"] if closed else behind
    return not outside <= own or bool(_WORD.search(after))


def _open_quote(line: str) -> int:
    """Where a quotation begins that is still open at the line's end; -1 for none."""
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
