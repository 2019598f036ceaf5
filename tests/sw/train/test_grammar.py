"""The text that the default model is trained on, and its vocabulary."""

from itertools import islice

import pytest

from marey.sw.train.grammar import ANIMAL_NAMES, BOYS, GIRLS, stories
from marey.sw.train.tokenizer import train_tokenizer

NAMES = {*GIRLS, *BOYS, *ANIMAL_NAMES}


@pytest.fixture(scope="module")
def told():
    return list(islice(stories(1), 2000))


def test_a_seed_is_a_text(told):
    assert told == list(islice(stories(1), 2000)) and told[:5] != list(islice(stories(2), 5))
    assert len(set(told)) > 0.99 * len(told)


def test_a_story_keeps_to_two_characters_and_ends(told):
    for story in told:
        words = story.replace(".", " ").replace(",", " ").replace("!", " ").replace("?", " ").replace('"', " ").split()
        assert len(NAMES & set(words)) == 2
        assert story.endswith("The end.") and story.count("The end.") == 1 and story.count('"') % 2 == 0


def test_the_vocabulary_says_every_story(told):
    tokenizer = train_tokenizer(300, seed=0, count=500)
    assert len(tokenizer.pieces) == 300 and "<0x00>" not in tokenizer.vocabulary()
    for story in told[:100]:
        tokens = tokenizer.encode(story)
        assert tokenizer.decode(tokens) == story and 0 not in tokens
    assert 0 in tokenizer.encode("żółw") and tokenizer.decode(tokenizer.encode("Quick Zebra-Yak")) == "Quick Zebra-Yak"
