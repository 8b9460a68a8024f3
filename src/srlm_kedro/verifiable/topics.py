"""What the instructions are about, and how a person asks for a short text about it."""

TASKS: tuple[str, ...] = (
    "Write a short paragraph about {topic}.",
    "Tell me something about {topic}.",
    "Explain {topic} to a child.",
    "Give me some advice on {topic}.",
    "What should I know about {topic}?",
    "Why do people care about {topic}?",
    "Describe {topic} in your own words.",
    "Write a short note to a friend about {topic}.",
    "I have to give a talk about {topic}. What could I say?",
    "Help me write a few lines about {topic}.",
)
"""Each asks for a text of a few sentences."""

TOPICS: tuple[str, ...] = (
    *("baking bread", "growing tomatoes", "learning to swim", "riding a bicycle to work"),
    *("keeping a cat", "walking a dog", "feeding birds in winter", "raising chickens"),
    *("public libraries", "night trains", "city parks", "farmers' markets"),
    *("small museums", "old bridges", "lighthouses", "mountain huts"),
    *("drinking enough water", "sleeping well", "stretching in the morning", "eating more fruit"),
    *("saving money", "paying bills on time", "buying a used car", "renting a flat"),
    *("writing a diary", "reading aloud", "learning a new language", "playing the piano"),
    *("singing in a choir", "drawing portraits", "taking photographs", "making pottery"),
    *("the history of paper", "the invention of the clock", "the first maps", "early airplanes"),
    *("how rain forms", "why leaves change color", "how bees make honey", "what causes tides"),
    *("how a magnet works", "why the sky is blue", "how volcanoes erupt", "what stars are made of"),
    *("working from home", "leading a small team", "running a meeting", "asking for a raise"),
    *("writing a letter of thanks", "preparing for an exam", "moving to a new city"),
    *("making new friends", "visiting grandparents", "planning a birthday party"),
    *("camping with children", "cleaning a kitchen", "repairing a chair", "painting a room"),
    *("planting trees", "saving electricity", "sorting waste", "collecting rain water"),
    *("chess", "table tennis", "running a marathon", "skating on ice", "playing cards"),
    *("soup", "cheese", "chocolate", "breakfast", "tea with milk", "picnics", "street food"),
    *("the ocean", "deserts", "rivers", "forests", "islands", "snow", "thunderstorms"),
    *("elephants", "whales", "butterflies", "horses", "penguins", "spiders", "frogs"),
    *("robots", "telephones", "bicycles", "sailing boats", "umbrellas", "mirrors", "glasses"),
    *("patience", "honesty", "courage", "kindness", "curiosity", "good manners", "being on time"),
)
"""Topics of seed data and of new prompts."""

UNSEEN_TOPICS: tuple[str, ...] = (
    *("keeping bees", "growing roses", "learning to sew", "sharing a car"),
    *("fish tanks", "evening classes", "castles", "village festivals"),
    *("taking short breaks", "eating less sugar", "lending money", "choosing a phone"),
    *("writing poems", "playing the drums", "the history of salt", "the first trains"),
    *("how clouds move", "why we dream", "how a compass works", "what makes bread rise"),
    *("working at night", "teaching adults", "saying sorry", "living with flatmates"),
    *("hiking alone", "washing windows", "saving water", "dancing"),
    *(
        "pancakes",
        "apples",
        "waterfalls",
        "fog",
        "owls",
        "turtles",
        "candles",
        "bridges made of wood",
    ),
    *("modesty", "humor", "teamwork", "listening well"),
)
"""Topics of held-out prompts only."""

WORDS: tuple[str, ...] = (
    *("simple", "morning", "energy", "family", "small", "remember", "share", "careful"),
    *("begin", "together", "often", "quiet", "garden", "future", "reason", "healthy"),
    *("story", "travel", "season", "practice", "strong", "weather", "neighbor", "gentle"),
    *("school", "money", "music", "window", "bright", "village", "question", "habit"),
)
"""Words that an instruction may ask for."""

COMMON_WORDS: tuple[str, ...] = (
    *("very", "also", "important", "people", "can", "many", "time", "make", "help", "great"),
    *("often", "good", "like", "more", "will", "your", "world", "life", "way", "new"),
)
"""Frequent words that an instruction may forbid."""

OPENINGS: tuple[str, ...] = (
    *("In short", "First of all", "Here is", "I think", "Well", "To begin", "Dear reader"),
    *("Let me tell you", "As you know", "Good news"),
)
"""Words that an instruction may ask an answer to begin with."""
