"""What the grammar tells it reads back, and what it does not tell it refuses."""

from itertools import islice

import pytest

from marey.sw.train.grammar import stories
from marey.sw.train.judge import MEASURES, judge
from marey.sw.train.reader import CAST, consists, has_a_plot, names

STORY = ('Once there was a happy dog. His name was Pip. He liked to play with his friend Sue, a girl. They loved to go to the '
         'lake. Pip saw a red kite in a tall tree. "I want it," said Pip. He tried to climb up, but he could not. Sue said, '
         '"Let us do it together." Sue got a long stick and the kite fell down. Now they had a red kite to play with. '
         'They were best friends. The end.')


def test_every_story_told_is_read():
    told = list(islice(stories(11), 300))
    assert all(has_a_plot(story) and consists(story) and consists(story, CAST) and len(names(story)) == 2 for story in told)
    assert set(judge([(story, True) for story in told]).values()) == {1.0}


@pytest.mark.parametrize(("was", "becomes", "failing"), [
    ("", "", set()),
    ("said Pip", "said Sue", {"characters", "plot"}),  # Sue is not the one who wants it
    ("He tried", "She tried", {"characters", "plot", "sentences"}),  # two pronouns for one in a sentence
    ("Sue got", "Lily got", {"two names", "characters", "plot"}),
    ("the kite fell", "the drum fell", {"plot"}),
    ("a red kite to", "a blue kite to", {"plot"}),
    ("kite in a", "kite on a", {"sentences", "characters", "plot"}),
    (" Sue said, \"Let us do it together.\"", "", {"plot"}),
    ("Sue, a girl", "Sue, a boy", {"sentences", "characters", "plot"}),
    ("Sue, a girl", "Pip, a frog", {"characters", "plot"}),  # his own friend
    (" The end.", "", {"ends", "plot"}),
    (" The end.", " The end. The end.", {"ends", "plot"}),
])
def test_what_each_measure_sees(was, becomes, failing):
    assert was in STORY
    text = STORY.replace(was, becomes, 1)
    assert {name for name, holds in MEASURES.items() if not holds(text, True)} == failing


def test_a_story_without_an_end_token_does_not_end():
    assert {name for name, holds in MEASURES.items() if not holds(STORY, False)} == {"ends", "plot"}
