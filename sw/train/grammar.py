"""A grammar of small stories: who, where, what goes wrong, who helps, how it ends.

A story keeps to its characters: the child and the friend or animal of its first sentences are those of its last, each with
their own pronouns. Its plots are drawn sentence by sentence, so that few stories are ever told twice.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

GIRLS = ("Lily", "Anna", "Mia", "Sue", "Emma")
BOYS = ("Tom", "Ben", "Max", "Sam", "Leo")
ANIMALS = ("cat", "dog", "bird", "frog", "fox", "duck", "bear")
ANIMAL_NAMES = ("Spot", "Pip", "Coco", "Bobo")
PLACES = ("park", "garden", "forest", "farm", "lake", "beach")
TOYS = ("ball", "kite", "boat", "doll", "drum", "hat", "book", "cup")
COLOURS = ("red", "blue", "green", "yellow")
FOOD = ("cake", "apple", "cookie", "pie")
WEATHER = ("sunny", "warm", "windy", "cold")


@dataclass(frozen=True)
class Person:
    """A character: how it is introduced, called, and spoken of."""

    name: str
    kind: str
    he: str
    his: str
    him: str


def stories(seed: int) -> Iterator[str]:
    """Stories without end, always the same for a seed."""
    rng = random.Random(seed)
    while True:
        yield Story(rng).tell()


class Story:
    """One story; every choice is drawn from `rng`."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.child = self._person()
        self.friend = self._person(self.child)
        self.place, self.toy = rng.choice(PLACES), rng.choice(TOYS)
        self.colour = rng.choice(COLOURS)

    def tell(self) -> str:
        """The whole story, one paragraph."""
        plot = self.rng.choice((self._lost, self._high, self._sad, self._share, self._storm, self._found, self._race))
        return " ".join([*self._opening(), *plot(), *self._ending()])

    def _person(self, other=None):
        """Somebody; not of the other's name."""
        rng = self.rng
        if rng.random() < 0.35:
            he, his, him = rng.choice((("he", "his", "him"), ("she", "her", "her")))
            person = Person(rng.choice(ANIMAL_NAMES), rng.choice(ANIMALS), he, his, him)
        elif rng.random() < 0.5:
            person = Person(rng.choice(GIRLS), "girl", "she", "her", "her")
        else:
            person = Person(rng.choice(BOYS), "boy", "he", "his", "him")
        return self._person(other) if other and person.name == other.name else person

    def _say(self, *choices):
        return self.rng.choice(choices)

    def _opening(self):
        a, b, say = self.child, self.friend, self._say
        size = say("little", "small", "happy", "kind")
        he = a.he.capitalize()
        yield say(f"Once upon a time, there was a {size} {a.kind} named {a.name}.",
                  f"Once upon a time, there was a {a.kind} named {a.name}.",
                  f"{a.name} was a {size} {a.kind}.",
                  f"Once there was a {size} {a.kind}. {a.his.capitalize()} name was {a.name}.")
        yield say(f"{he} had a friend, a {b.kind} named {b.name}.",
                  f"{he} liked to play with {a.his} friend {b.name}, a {b.kind}.",
                  f"{a.his.capitalize()} best friend was a {b.kind} named {b.name}.")
        yield say(f"One day, {a.name} and {b.name} went to the {self.place}.",
                  f"One {self._say(*WEATHER)} day, they went to the {self.place}.",
                  f"They loved to play in the {self.place}." if self.place in ("park", "garden", "forest")
                  else f"They loved to play at the {self.place}.")

    def _lost(self):
        a, b, toy, say = self.child, self.friend, f"{self.colour} {self.toy}", self._say
        yield say(f"{a.name} had a {toy}.", f"{a.name} took {a.his} {toy}.")
        yield say(f"But then {a.he} could not find the {self.toy}.", f"But the {self.toy} was gone!")
        yield say(f'"Where is my {self.toy}?" {a.he} said.', f'"I lost my {self.toy}," {a.he} said.',
                  f"{a.name} was very sad and began to cry.")
        yield say(f'"Do not cry, {a.name}," said {b.name}. "I will help you."', f'"I will help you look," said {b.name}.')
        yield say("They looked and looked.", "They looked all day.", f"They looked all over the {self.place}.")
        yield say(f"Then {b.name} saw the {toy} under a tree.", f"At last, {b.name} found the {toy} in a box.",
                  f"{b.name} found the {toy} by a big rock.")
        yield say(f'"Thank you, {b.name}!" said {a.name}.', f"{a.name} gave {b.name} a big hug.")

    def _high(self):
        a, b, toy, say = self.child, self.friend, f"{self.colour} {self.toy}", self._say
        yield say(f"{a.name} saw a {toy} in a tall tree.", f"There was a {toy} high up in a tree.")
        yield say(f"{a.he.capitalize()} wanted to get it.", f'"I want it," {a.he} said.')
        yield say(f"{a.he.capitalize()} jumped and jumped, but the tree was too tall.",
                  f"{a.he.capitalize()} tried to climb up, but {a.he} could not.")
        yield say(f'"I have an idea," said {b.name}.', f'{b.name} said, "Let us do it together."')
        yield say(f"{b.name} got a long stick and the {self.toy} fell down.",
                  f"{a.name} sat on a big rock and {b.name} held {a.him}, and {a.he} got the {self.toy}.")
        yield say(f"They played with the {self.toy} all day.", f"Now they had a {toy} to play with.")

    def _sad(self):
        a, b, say = self.child, self.friend, self._say
        food = self.rng.choice(FOOD)
        yield say(f"But {b.name} was sad.", f"But {b.name} did not want to play.")
        yield say(f'"Why are you sad?" said {a.name}.', f'"What is wrong, {b.name}?" said {a.name}.')
        yield say(f'"I want my mom," said {b.name}.', f'"I am hungry," said {b.name}.', f'"I am tired," said {b.name}.')
        yield say(f"{a.name} had an idea.", f"{a.name} wanted to help {a.his} friend.")
        yield say(f"{a.he.capitalize()} gave {b.name} a big {food}.", f"{a.he.capitalize()} made a {food} for {b.name}.",
                  f"{a.he.capitalize()} gave {b.name} a {self.colour} {self.toy}.")
        yield say(f"{b.name} smiled.", f'"You are a good friend, {a.name}," said {b.name}.')

    def _share(self):
        a, b, toy, say = self.child, self.friend, f"{self.colour} {self.toy}", self._say
        yield say(f"{a.name} had a new {toy}.", f"{a.name} found a {toy} there.")
        yield say(f'"Can I play with it?" said {b.name}.', f"{b.name} wanted to play with the {self.toy} too.")
        yield say(f'"No, it is mine," said {a.name}.', f"But {a.name} did not want to share.")
        yield say(f"{b.name} was sad and went away.", f"{b.name} began to cry.")
        yield say(f"Then {a.name} was sad too.", f"{a.name} saw that {a.he} was not nice.", "It was no fun to play alone.")
        yield say(f'"I am sorry, {b.name}," {a.he} said. "We can share."',
                  f'{a.he.capitalize()} said, "I am sorry. You can play too."')
        yield say(f"They played with the {self.toy} together.", f"{b.name} was happy, and they shared the {self.toy}.")

    def _storm(self):
        a, b, say = self.child, self.friend, self._say
        yield say("They ran and played.", f"They played with a {self.colour} {self.toy}.")
        yield say("Then it began to rain.", "But then a big storm came.")
        yield say(f"{a.name} was scared.", f'"I am scared," said {a.name}.')
        yield say(f'"Do not be scared," said {b.name}. "I am here."', f"{b.name} held {a.his} hand."
                  if a.kind in ("girl", "boy") and b.kind in ("girl", "boy") else f"{b.name} sat by {a.him}.")
        yield say("They ran home to mom.", "They sat under a big tree.", "They saw a little house and ran in.")
        yield say("Soon the sun came out.", "Then the rain was gone and the sun was warm.")
        yield say("They went out to play again.", f"They went back to the {self.place}.")

    def _found(self):
        a, b, toy, say = self.child, self.friend, f"{self.colour} {self.toy}", self._say
        yield say(f"{a.name} saw a {toy} by the road.", f"{b.name} found a {toy} there.")
        yield say(f'"Whose {self.toy} is this?" said {a.name}.', f'"It is not our {self.toy}," said {a.name}.')
        yield say("Then they saw an old man. He was sad.", "Then they saw an old lady. She was sad.")
        yield f'"Is this your {self.toy}?" said {b.name}.'
        yield say('"Yes, it is! Thank you, my friends!"', '"Yes! You are very kind!"')
        yield say(f"They got a {self.rng.choice(FOOD)} to share.", f"{a.name} and {b.name} felt good.")

    def _race(self):
        a, b, say = self.child, self.friend, self._say
        goal = say("big tree", "old house", "big rock")
        yield say(f'"Let us run to the {goal}," said {a.name}.', f'"I can run fast," said {b.name}.')
        yield say("They ran and ran.", f"{a.name} ran as fast as {a.he} could.")
        yield say(f"But {a.name} fell down and hurt {a.his} leg.", f"But then {a.name} fell.")
        yield say(f"{b.name} stopped and came back.", f"{b.name} saw it and ran back.")
        yield say(f'"Are you okay?" {b.he} said.', f'"I will help you," said {b.name}.')
        yield say(f"{b.he.capitalize()} helped {a.name} get up.", f"{b.name} helped {a.him}.")
        yield say(f"They went to the {goal} together.", "They both won, and they laughed.")

    def _ending(self):
        a, b, say = self.child, self.friend, self._say
        yield say(f"{a.name} and {b.name} were very happy.", f"{a.name} was happy to have a friend like {b.name}.",
                  "They were best friends.", f"From that day on, {a.name} and {b.name} played together every day.",
                  f"{a.name} and {b.name} went home and told mom all about it.")
        yield "The end."
