"""The words of the world: what can be named, counted, ordered and greeted."""

CATEGORIES: dict[str, tuple[str, ...]] = {
    "fruits": ("apple", "pear", "plum", "lemon", "peach", "grape", "mango", "cherry"),
    "animals": ("dog", "cat", "horse", "cow", "sheep", "goat", "pig", "lion"),
    "tools": ("hammer", "saw", "drill", "axe", "rake", "spade", "wrench", "pliers"),
    "drinks": ("water", "tea", "coffee", "milk", "juice", "cocoa", "soda", "cider"),
    "birds": ("crow", "swan", "owl", "robin", "eagle", "duck", "hen", "stork"),
    "flowers": ("rose", "tulip", "daisy", "lily", "poppy", "violet", "iris", "pansy"),
    "colors": ("red", "blue", "green", "yellow", "black", "white", "brown", "pink"),
    "trees": ("oak", "pine", "elm", "birch", "maple", "cedar", "willow", "ash"),
}
"""Eight categories of eight words; no word stands in two of them."""

CATEGORY_OF: dict[str, str] = {word: name for name, words in CATEGORIES.items() for word in words}

WORDS: tuple[str, ...] = tuple(CATEGORY_OF)

NUMBERS: tuple[str, ...] = tuple(str(number) for number in range(1, 21))

ITEMS: frozenset[str] = frozenset(WORDS) | frozenset(NUMBERS)

COUNTS: dict[str, int] = {"two": 2, "three": 3, "four": 4}
"""How many of a category may be asked for."""
