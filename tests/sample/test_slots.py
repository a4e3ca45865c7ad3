"""Which slot a prompt takes, and how much of it is known there."""

import numpy as np

from ocijax.sample.slots import WORTH_COPYING, Place, Slots

LONG = np.arange(2 * WORTH_COPYING, dtype=np.int32)
OTHER = 1000 + LONG


def test_a_conversation_that_goes_on_takes_its_own_slot():
    slots = Slots(3)
    place = slots.take(LONG)
    assert place.known == 0
    slots.leave(place.slot, LONG[:40])
    assert slots.take(LONG) == Place(place.slot, place.slot, 40)


def test_one_that_begins_alike_copies_and_leaves_the_other_as_it_is():
    slots = Slots(3)
    first = slots.take(LONG)
    slots.leave(first.slot, LONG)
    branch = np.concatenate([LONG[:-1], OTHER])
    place = slots.take(branch)
    assert (place.source, place.known) == (first.slot, len(LONG) - 1)
    assert place.slot != first.slot
    assert slots.known(LONG) == len(LONG)


def test_what_was_read_of_a_prompt_that_is_being_answered_can_be_copied():
    slots = Slots(2)
    first = slots.take(LONG)
    assert slots.known(LONG) == 0
    slots.hold(first.slot, LONG[:40])
    assert slots.take(LONG) == Place(1 - first.slot, first.slot, 40)


def test_what_a_slot_was_taken_for_is_worth_waiting_for_until_it_is_read():
    slots = Slots(2)
    assert not slots.worth_waiting(LONG)
    first = slots.take(LONG)
    assert slots.worth_waiting(LONG)
    slots.hold(first.slot, LONG)
    assert not slots.worth_waiting(LONG)
    slots.leave(first.slot, LONG[:40])
    assert not slots.worth_waiting(LONG)


def test_so_it_is_where_too_little_to_copy_is_held_already():
    slots = Slots(3)
    slots.leave(slots.take(LONG).slot, LONG[:8])
    branch = np.concatenate([LONG[:8], OTHER])
    begun = np.concatenate([branch[: WORTH_COPYING + 4], LONG])
    slots.take(begun)
    assert slots.known(branch) == 0
    assert slots.worth_waiting(branch)


def test_little_in_common_is_not_worth_copying():
    slots = Slots(2)
    first = slots.take(LONG)
    slots.leave(first.slot, LONG)
    branch = np.concatenate([LONG[: WORTH_COPYING - 1], OTHER])
    assert slots.take(branch) == Place(1 - first.slot, 1 - first.slot, 0)


def test_nor_is_it_worth_going_on_from_where_the_slot_itself_holds_it():
    slots = Slots(1)
    slots.leave(slots.take(LONG).slot, LONG)
    branch = np.concatenate([LONG[: WORTH_COPYING - 1], OTHER])
    assert slots.take(branch) == Place(0, 0, 0)
    assert slots.known(LONG) == 0


def test_the_slot_left_longest_ago_is_given_away_first():
    slots = Slots(3)
    taken = [slots.take(prompt).slot for prompt in (LONG, OTHER, LONG + 5000)]
    assert slots.free == 0
    for slot in (taken[1], taken[2], taken[0]):
        slots.leave(slot, OTHER[:3])
    assert slots.take(LONG + 9000).slot == taken[1]


def test_before_it_one_that_was_forgotten_is_given_away():
    slots = Slots(3)
    taken = [slots.take(prompt).slot for prompt in (LONG, OTHER, LONG + 5000)]
    for slot, held in zip(taken, (LONG, OTHER, LONG + 5000), strict=True):
        slots.leave(slot, held[:-1])
    slots.forget(OTHER)
    assert slots.take(LONG + 9000).slot == taken[1]
    assert slots.take(LONG + 7000).slot == taken[0]
