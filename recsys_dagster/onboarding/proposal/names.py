"""What a column's name says about it: the project's known names first, then those of the world."""

import re
from typing import Literal

from recsys_dagster.errors import UserError
from recsys_dagster.onboarding.proposal.languages import english
from recsys_dagster.steps.prepare.columns import KNOWN_NAMES, find_column

Kind = Literal["user_id", "item_id"]


def _listed(names: str) -> tuple[str, ...]:
    return tuple(names.split())


KEY_SUFFIXES = _listed(
    "id uid uuid guid code key no nr num number ref reference hash index idx pk fk"
)
KEY_WORDS: dict[Kind, tuple[str, ...]] = {
    "user_id": _listed(
        "user customer client member visitor account learner student buyer shopper consumer "
        "subscriber reviewer rater reader viewer listener watcher player gamer borrower patron "
        "guest patient participant follower voter pupil trainee employee person people profile "
        "username login handle cust usr actor household session device cookie email mail"
    ),
    "item_id": _listed(
        "item sku stockcode asin isbn ean gtin upc barcode product article course movie film book "
        "video track song album artist show series episode podcast recipe restaurant business "
        "venue hotel listing property job vacancy lesson lecture module exercise game app "
        "application anime manga story news document page question thread topic post content "
        "offer deal ad playlist channel place poi prod object"
    ),
}
CODES = frozenset(_listed("sku asin isbn ean gtin upc barcode stockcode"))
"""Words for items that are ids, whatever comes before them: "Lineitem sku"."""
NAMES_OF_PEOPLE = frozenset(_listed("name login mbox email username"))
"""What stands for a person where a part of the name says so: `actor.account.name`."""
SMALL_WORDS = frozenset(
    _listed("pseudo anonymous anonymized hashed unique global internal external original raw new")
)
"""Words before that for a key that say nothing of whose key it is."""
SPLIT_NAMES = _listed("split set fold subset partition part dataset phase")
ORDER_WORDS = frozenset(
    _listed(
        "order invoice transaction receipt basket cart ticket voucher shipment payment line row "
        "booking bill purchase record entry request log event"
    )
)
"""Of papers and records: a number of one is nobody's id."""
TITLE_WORDS = frozenset(_listed("title name headline caption label heading"))
TITLE_QUALIFIERS = frozenset(
    _listed("full short original display primary main english long lineitem")
)
CATEGORY_WORDS = _listed(
    "category genre department subject topic section concept subcategory tag type class"
)
DESCRIPTION_WORDS = frozenset(
    _listed(
        "description desc overview summary abstract synopsis body content text about plot keyword "
        "tag ingredients skill concept genre category topic subject tagline"
    )
)
AVAILABLE_NAMES = _listed(
    "available isavailable instock stock isactive active enabled isenabled stockquantity "
    "stockcount instockquantity inventory quantityinstock unitsinstock published ispublished "
    "availability forsale"
)
CREATED_NAMES = _listed(
    "created createdon createdtime createddate creationdate dateadded addedon listedat "
    "datelisted launchdate launchedat launchedon publishdate publisheddate publicationdate "
    "publishedon releasedat releasedon firstseen"
)
WEIGHT_NAMES = _listed(
    "rating ratings stars star score value reviewrating overall grade quantity qty orderquantity "
    "count plays playcount listens clicks views playtime hours hoursplayed watchtime amount "
    "weight strength units copies pieces note times"
)
RATING_NAMES = frozenset(
    _listed("rating ratings stars star score value reviewrating overall grade weight note")
)
TIME_NAMES = _listed(
    "timestamp datetime eventtime eventtimestamp eventdatetime time date ts unixtime created "
    "createdat createdon createdtime creationdate"
)
TIME_WORDS = frozenset(
    _listed("time date datetime timestamp ts at on when day moment created creation month year")
)
TIME_OF_OTHER_THINGS = frozenset(
    _listed(
        "release released birth birthday expiry expires expiration due shipping shipped delivery "
        "delivered edited updated modified joined registered end"
    )
)
POSITION_NAMES = _listed(
    "position order step sequence sequencenumber seq ordinal orderindex interactionorder"
)
EVENT_NAMES = _listed(
    "event eventtype eventname action actiontype activity activitytype behavior behaviour "
    "behaviortype behaviourtype interaction interactiontype verb vote votetype reaction "
    "reactiontype type kind"
)
MEASURE_WORDS = frozenset(
    _listed(
        "price revenue turnover amount money total subtotal cost tax vat discount shipping margin "
        "profit sales fee eur usd gbp chf rub cny jpy quantity qty units weight rating score stars"
    )
)
"""Of columns that count or measure something, and are nobody's id."""
AGAINST_EVENTS = frozenset(
    _listed(
        "down downvote thumbsdown dislike disliked unlike hide hidden block blocked report "
        "reported skip skipped unfollow unsubscribe drop dropped unenroll unenrolled withdrawn "
        "cancel cancelled canceled refund refunded return returned remove removed removefromcart"
    )
)
"""Events that say that somebody does not want an item."""
LANGUAGE_WORDS = frozenset(_listed("language lang locale"))
PERSONAL_WORDS = frozenset(
    _listed(
        "name firstname lastname surname username email mail phone telephone mobile address street "
        "password login zip zipcode postcode birth birthday ip"
    )
)


FIELD = re.compile(r"\w+(?:\.\w+)+")
"""The name of a field of an object."""


def letters(name: str) -> str:
    """A name in English, without case, spaces and punctuation."""
    return "".join(character for character in english(name).casefold() if character.isalnum())


def words(name: str) -> list[str]:
    """The words of a name: "StockCode" and "stock_code" are stock and code.

    So are those of other languages, in English: "Kundennummer" is customer and number.
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", english(name))
    return re.findall(r"[^\W_]+", spaced.casefold())


def singulars(word: str) -> list[str]:
    """A word and what it may be the plural of."""
    forms = [word]
    for ending, singular in (("s", ""), ("es", ""), ("ies", "y")):
        if len(word) > len(ending) + 1 and word.endswith(ending):
            forms.append(word.removesuffix(ending) + singular)
    return forms


def key_rank(name: str, kind: Kind) -> tuple[int, int] | None:
    """How well a name fits a key, smaller is better; None where it says nothing of the kind."""
    if name == kind:
        return (0, 0)
    if FIELD.fullmatch(name):  # and not "Artikelnr."
        return _rank_of_path(name, kind)
    parts = [word for word in words(name) if word not in SMALL_WORDS]
    glued = letters(name) if len(parts) == len(words(name)) else "".join(parts)
    if glued in KNOWN_NAMES[kind]:
        return (1, KNOWN_NAMES[kind].index(glued))
    places = [
        _place(glued.removesuffix(suffix), kind)
        for suffix in KEY_SUFFIXES
        if glued.endswith(suffix)
    ]
    if len(parts) == 2 and parts[0] in KEY_SUFFIXES:  # "Код клиента", "Réf. article", "id_user"
        places.append(_place(parts[1], kind))
    ranks = [(2, place) for place in places if place is not None]
    bare = _place(glued, kind)
    if bare is not None:
        ranks.append((3, bare))
    if len(parts) > 2 and parts[-1] in KEY_SUFFIXES:
        place = _place(parts[-2], kind)
        if place is not None:
            ranks.append((4, place))
    elif parts and parts[-1] in CODES and kind == "item_id":
        ranks.append((4, 0))
    return next(iter(ranks), None)


def _rank_of_path(name: str, kind: Kind) -> tuple[int, int] | None:
    """Of a part of an object: `user.id`, `actor.account.name`."""
    above, _, last = name.rpartition(".")
    places = [_place(word, kind) for part in above.split(".") for word in words(part)[:1]]
    place = next((place for place in places if place is not None), None)
    if place is None or not words(last):
        return None
    if words(last)[-1] in KEY_SUFFIXES:
        return (2, place)
    return (3, place) if kind == "user_id" and words(last)[-1] in NAMES_OF_PEOPLE else None


def _place(word: str, kind: Kind) -> int | None:
    known = KEY_WORDS[kind]
    return next((known.index(form) for form in singulars(word) if form in known), None)


def is_about(source: str, kind: Kind) -> bool:
    """Whether a table's name says that a row of it is a user, or an item: "movies.csv"."""
    return any(_place(word, kind) is not None for word in words(source))


def is_of_an_order(name: str) -> bool:
    """Whether a name is that of the number of an order, an invoice or a row."""
    parts = words(name)
    rest = [word for word in parts if word not in KEY_SUFFIXES]
    stems = rest[-1:] or [letters(name)]
    stems += [letters(name).removesuffix(suffix) for suffix in KEY_SUFFIXES]
    return any(form in ORDER_WORDS for stem in stems for form in singulars(stem))


def place_in(name: str, names: tuple[str, ...]) -> int | None:
    """Where a name is in a list of names without case and punctuation.

    Of "Lineitem quantity" the last word counts, and what is in brackets behind a name does not.
    """
    bare = re.sub(r"[(\[][^)\]]*[)\]]\s*$", "", name)
    parts = words(bare)
    forms = [letters(name), letters(bare), *(parts[-1:] if parts[:1] == ["lineitem"] else [])]
    return min((names.index(form) for form in forms if form in names), default=None)


def known_column(wanted: str, names: list[str]) -> str | None:
    """The column that is taken without being named; of two spellings the first."""
    try:
        return find_column(wanted, names, {}, "")
    except UserError:
        return next(
            name for known in KNOWN_NAMES[wanted] for name in names if letters(name) == known
        )


def must_be_named(wanted: str, column: str, names: list[str]) -> bool:
    """Whether a catalog has to say that `column` is `wanted`."""
    try:
        return find_column(wanted, names, {}, "") != column
    except UserError:
        return True


def is_title_name(name: str) -> bool:
    """Whether a column is the name of the item itself, rather than of its brand or its seller."""
    *before, last = words(name) or [""]
    return last in TITLE_WORDS and all(
        word in TITLE_QUALIFIERS or _place(word, "item_id") is not None for word in before
    )


def has_word(name: str, known: frozenset[str] | tuple[str, ...]) -> bool:
    """Whether one of a name's words, or all of them together, is in a list."""
    return any(form in known for word in [*words(name), letters(name)] for form in singulars(word))


def is_key_name(name: str) -> bool:
    """Whether a name ends like that of a key: "imdb_id", "postcode"."""
    return words(name)[-1:] != [] and words(name)[-1] in KEY_SUFFIXES
