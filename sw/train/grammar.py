"""A grammar of small stories: who, where, what goes wrong, who helps, how it ends.

A story is a cast and a plot. The cast gives each slot of the templates one value, from the first
sentence to the last, so a story has two characters, each with the same pronouns throughout. The
plot is a list of stages; the story has one template of each stage. `stories` writes stories from
these tables, and `reader.py` reads them back by the same tables.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

GIRLS = ("Lily", "Anna", "Mia", "Sue", "Emma")
BOYS = ("Tom", "Ben", "Max", "Sam", "Leo")
ANIMAL_NAMES = ("Spot", "Pip", "Coco", "Bobo")
ANIMALS = ("cat", "dog", "bird", "frog", "fox", "duck", "bear")


@dataclass(frozen=True)
class Character:
    """A name, a kind, and pronouns. In a template `{a}` is the name, and `{a.He}` the pronoun that
    begins a sentence.
    """

    name: str
    kind: str
    he: str
    his: str
    him: str

    def __str__(self):
        return self.name

    @property
    def He(self):
        return self.he.capitalize()

    @property
    def His(self):
        return self.his.capitalize()


SHE, HE = ("she", "her", "her"), ("he", "his", "him")
PEOPLE = (tuple(Character(name, "girl", *SHE) for name in GIRLS), tuple(Character(name, "boy", *HE) for name in BOYS),
          tuple(Character(name, kind, *pronouns) for name in ANIMAL_NAMES for kind in ANIMALS for pronouns in (SHE, HE)))
SLOTS = {
    "a": sum(PEOPLE, ()),
    "b": sum(PEOPLE, ()),
    "size": ("little", "small", "happy", "kind"),
    "place": ("park", "garden", "forest", "farm", "lake", "beach"),
    "weather": ("sunny", "warm", "windy", "cold"),
    "colour": ("red", "blue", "green", "yellow"),
    "toy": ("ball", "kite", "boat", "doll", "drum", "hat", "book", "cup"),
    "food": ("cake", "pear", "cookie", "pie"),
    "goal": ("big tree", "old house", "big rock"),
}
"""What each slot may stand for."""

WHERE = ("One day, {a} and {b} went to the {place}.", "One {weather} day, they went to the {place}.",
         "They loved to go to the {place}.")
OPENINGS = (
    (
        ("Once upon a time, there was a {size} {a.kind} named {a}.", "Once upon a time, there was a {a.kind} named {a}.",
         "{a} was a {size} {a.kind}.", "Once there was a {size} {a.kind}. {a.His} name was {a}.",
         "There once was a {size} {a.kind} named {a}."),
        ("{a.He} had a friend, a {b.kind} named {b}.", "{a.He} liked to play with {a.his} friend {b}, a {b.kind}.",
         "{a.His} best friend was a {b.kind} named {b}."),
        WHERE,
    ),
    (
        ("{a} and {b} were friends.", "{a} and {b} were best friends.",
         "Once upon a time, there were two friends, {a} and {b}."),
        ("{a} was a {size} {a.kind}, and {b} was a {b.kind}.", "{a} was a {a.kind}, and {b} was a {size} {b.kind}."),
        WHERE,
    ),
    (
        ("One day, a {size} {a.kind} named {a} went to the {place}.",
         "One {weather} day, a {a.kind} named {a} went to the {place}.",
         "It was a {weather} day. A {size} {a.kind} named {a} went to the {place}."),
        ("{a.He} went with {a.his} friend {b}, a {b.kind}.", "There {a.he} met {a.his} friend {b}, a {b.kind}."),
    ),
)
ENDING = (
    ("{a} and {b} were very happy.", "{a} was happy to have a friend like {b}.", "They were best friends.",
     "From that day on, {a} and {b} played together every day.", "{a} and {b} went home and told mom all about it."),
    ("The end.",),
)
PLOTS = {
    "lost": (
        ("{a} had a {colour} {toy}.", "{a} took {a.his} {colour} {toy}."),
        ("But then {a.he} could not find the {toy}.", "But then the {toy} was gone!"),
        ('"Where is my {toy}?" {a.he} said.', '"I lost my {toy}," {a.he} said.', "{a} was very sad and began to cry."),
        ('"Do not cry, {a}," said {b}. "I will help you."', '"I will help you look," said {b}.'),
        ("They looked and looked.", "They looked all day.", "They looked all over the {place}."),
        ("Then {b} saw the {toy} under a tree.", "At last, {b} found the {toy} in a box.",
         "{b} found the {toy} by a big rock."),
        ('"Thank you, {b}!" said {a}.', "{a} gave {b} a big hug."),
    ),
    "high": (
        ("{a} saw a {colour} {toy} in a tall tree.", "There was a {colour} {toy} high up in a tree."),
        ("{a} wanted to get it.", '"I want it," said {a}.'),
        ("{a.He} jumped and jumped, but the tree was too tall.", "{a.He} tried to climb up, but {a.he} could not."),
        ('"I have an idea," said {b}.', '{b} said, "Let us do it together."'),
        ("{b} got a long stick and the {toy} fell down.", "{b} held {a.him} up, and {a.he} got the {toy}."),
        ("They played with the {toy} all day.", "Now they had a {colour} {toy} to play with."),
    ),
    "sad": (
        ("But {b} was sad.", "But {b} did not want to play."),
        ('"Why are you sad?" said {a}.', '"What is wrong, {b}?" said {a}.'),
        ('"I have no {toy} to play with," said {b}.', '"I am hungry," said {b}.', '"I am tired," said {b}.'),
        ("{a} had an idea.", "{a} wanted to help {a.his} friend."),
        ("{a.He} gave {b} a big {food}.", "{a.He} made a {food} for {b}.", "{a.He} gave {b} a {colour} {toy}."),
        ("{b} smiled.", '"You are a good friend, {a}," said {b}.'),
    ),
    "share": (
        ("{a} had a new {colour} {toy}.", "{a} found a {colour} {toy} there."),
        ('"Can I play with it?" said {b}.', "{b} wanted to play with the {toy} too."),
        ('"No, it is mine," said {a}.', "But {a} did not want to share."),
        ("{b} was sad and went away.", "{b} began to cry."),
        ("Then {a} was sad too.", "{a} saw that {a.he} was not nice.", "It was no fun to play alone."),
        ('"I am sorry, {b}," said {a}. "We can share."', '{a} said, "I am sorry. You can play too."'),
        ("They played with the {toy} together.", "{b} was happy, and they shared the {toy}."),
    ),
    "storm": (
        ("They ran and played.", "They played with a {colour} {toy}."),
        ("Then it began to rain.", "But then a big storm came."),
        ("{a} was scared.", '"I am scared," said {a}.'),
        ('"Do not be scared," said {b}. "I am here."', "{b} sat by {a.him}."),
        ("They ran home to mom.", "They sat under a big tree.", "They saw a little house and ran in."),
        ("Soon the sun came out.", "Then the rain was gone and the sun was warm."),
        ("They went out to play again.", "They went back to the {place}."),
    ),
    "found": (
        ("{a} saw a {colour} {toy} by the road.", "{b} found a {colour} {toy} by the road."),
        ('"Whose {toy} is this?" said {a}.', '"It is not our {toy}," said {a}.'),
        ("Then they saw an old man. He was sad.", "Then they saw an old lady. She was sad."),
        ('"Is this your {toy}?" said {b}.',),
        ('"Yes, it is! Thank you, my friends!"', '"Yes! You are very kind!"'),
        ("They got a {food} to share.", "{a} and {b} felt good."),
    ),
    "race": (
        ('"Let us run to the {goal}," said {a}.', '"Can you run to the {goal}?" said {b}.'),
        ("They ran and ran.", "{a} ran as fast as {a.he} could."),
        ("But {a} fell down and hurt {a.his} leg.", "But then {a} fell."),
        ("{b} stopped and came back.", "{b} saw it and ran back."),
        ('"Are you okay?" {b.he} said.', '"I will help you," said {b}.'),
        ("{b.He} helped {a} get up.", "{b} helped {a.him}."),
        ("They went to the {goal} together.", "They both won, and they laughed."),
    ),
    "nest": (
        ("{a} saw a baby bird by the {goal}.", "There was a baby bird by the {goal}."),
        ('"It fell down," said {b}.', '"It is too small to fly," said {b}.'),
        ("{a} wanted to help the baby bird.", '"We must help it," said {a}.'),
        ("{b} found the nest in a tree.", "They looked all over the {place}, and {b} found the nest."),
        ("Soon the mom bird came back.", "The mom bird was happy to see it."),
        ("The birds sang a song for them.", '"Thank you for your help, {b}," said {a}.'),
    ),
    "gift": (
        ("It was the birthday of {a}.", "{a} had a birthday that day."),
        ("{b} had a big box.", "{b} had a gift for {a}."),
        ('"This is for you, {a}," said {b}.', '"Open it!" said {b}.'),
        ("{a} saw a {colour} {toy} in it.", "{a} opened it and saw a {colour} {toy}."),
        ('"I love it! Thank you, {b}!" said {a}.', "{a} smiled and gave {b} a big hug."),
        ("Then they shared a {food}.", "They played with the {toy} all day."),
    ),
    "night": (
        ("They walked and walked.", "They played until it was dark."),
        ("Then they were lost.", "But they could not find the way home."),
        ('"I am scared," said {a}.', "{a} was scared and began to cry."),
        ('"Stay with me," said {b}.', '{b} said, "Do not cry. I am here."'),
        ("Then {b} saw a light.", "{b} looked and looked, and saw a light."),
        ("They ran to the light, and there was mom.", "It was mom! She took them home."),
    ),
    "sand": (
        ('"Let us make a big house of sand," said {a}.', "{a} wanted to make a house of sand."),
        ("They worked all day.", "{b} helped {a.him}."),
        ("But then the wind came and the house fell down.", "But then {b} fell on the house."),
        ('"Oh no!" said {a}.', "{a} was very sad.", "{a} was mad."),
        ('"I am sorry, {a}," said {b}. "Let us make a new one."', '"We can make a new one," said {b}.'),
        ("They made it again, and it was very big.", "Together they made a new house."),
        ('"It is the best house!" said {a}.', "They sat by it and had a {food}."),
    ),
}


def stories(seed: int, plots: tuple = tuple(PLOTS.values())) -> Iterator[str]:
    """Stories without end, the same ones for the same seed and plots. A plot `()` leaves opening and
    ending.
    """
    rng = random.Random(seed)
    while True:
        cast = {slot: rng.choice(values) for slot, values in SLOTS.items()}
        cast["a"], cast["b"] = _two_of(rng)
        stages = (*rng.choice(OPENINGS), *rng.choice(plots), *ENDING)
        yield " ".join(rng.choice(stage).format(**cast) for stage in stages)


def _two_of(rng):
    """Two characters with different names; a girl, a boy and an animal are equally likely."""
    while True:
        a, b = (rng.choice(rng.choice(PEOPLE)) for _ in range(2))
        if a.name != b.name:
            return a, b
