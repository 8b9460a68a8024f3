"""The words of the world: what can be named, and how many of it."""

CATEGORIES: dict[str, tuple[str, ...]] = {
    "fruits": ("apple", "pear", "plum", "lemon", "peach", "grape"),
    "animals": ("dog", "cat", "horse", "cow", "sheep", "goat"),
    "tools": ("hammer", "saw", "drill", "axe", "rake", "spade"),
    "drinks": ("water", "tea", "coffee", "milk", "juice", "cocoa"),
    "birds": ("crow", "swan", "owl", "robin", "eagle", "duck"),
    "flowers": ("rose", "tulip", "daisy", "lily", "poppy", "violet"),
    "colors": ("red", "blue", "green", "yellow", "black", "white"),
    "trees": ("oak", "pine", "elm", "birch", "maple", "cedar"),
}
"""Eight categories of six words; no word stands in two of them."""

CATEGORY_OF: dict[str, str] = {word: name for name, words in CATEGORIES.items() for word in words}

WORDS: tuple[str, ...] = tuple(CATEGORY_OF)

COUNTS: dict[str, int] = {"two": 2, "three": 3, "four": 4}
"""How many of a category may be asked for."""
