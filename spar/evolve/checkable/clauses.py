"""Clauses that witnesses are made of: no commas, no capital letters, no end marks. Written here by hand. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Phrases:
    """What a language needs to make sentences out of clauses and required words."""

    clauses: tuple[str, ...]
    """Clauses, the short ones among the others."""
    joiner: str
    """Between two clauses of a sentence."""
    preposition: str
    """Before required words."""


ENGLISH = Phrases(
    tuple(
        """
        we walked home before it was dark
        the small shop opens early in the day
        nobody knows how long it will take
        most of us like to talk about the rain
        this is what a good friend would do
        a clear plan saves time and money
        she wrote a long letter to her sister
        it rained all night
        they waited
        the answer is not hard to find
        you can try it at home
        we have time left
        he reads the paper with his morning tea
        the old road leads down to the sea
        there is more than one way to do this
        the children played in the garden until noon
        it helps to ask someone who knows
        the train was late again
        we agreed
        they built the house with their own hands
        her father had told her about the sea
        it is better to start with the basics
        the dog slept near the door
        our team works on this each day
        no one had seen the letter
        i think this is right
        you should take a short break now and then
        the light in the hall went out
        that is how it all began
        a warm meal made them feel at home
        he said that he would come back soon
        the room was cold and dim
        all of this takes some care
        she smiled
        the best thing to do is to wait
        the city has changed in the last ten years
        we need to look at the whole of it
        it does not cost much
        she had no idea what to do next
        in the end it was worth it
        """.strip().splitlines()
    ),
    "and",
    "with",
)
OTHERS: Mapping[str, Phrases] = {
    "de": Phrases(
        (
            "wir gehen heute nach der Arbeit noch in den Park",
            "das Wetter ist schön",
            "meine Schwester liest gerade ein gutes Buch über die Geschichte der Stadt",
            "der Zug kommt später",
            "niemand weiß genau wie lange es noch dauern wird",
        ),
        "und",
        "mit",
    ),
    "es": Phrases(
        (
            "mi hermana lee un libro sobre la historia de la ciudad",
            "hoy hace muy buen tiempo",
            "los niños juegan en el jardín hasta la hora de comer",
            "nadie sabe cuánto va a durar",
            "el tren llega tarde otra vez",
        ),
        "y",
        "con",
    ),
    "fr": Phrases(
        (
            "ma sœur lit un livre sur l'histoire de la ville",
            "il fait très beau aujourd'hui",
            "les enfants jouent dans le jardin jusqu'au repas",
            "personne ne sait combien de temps cela va durer",
            "le train est encore en retard",
        ),
        "et",
        "avec",
    ),
    "it": Phrases(
        (
            "mia sorella legge un libro sulla storia della città",
            "oggi il tempo è molto bello",
            "i bambini giocano nel giardino fino all'ora di cena",
            "nessuno sa quanto tempo ci vorrà ancora",
            "il treno arriva di nuovo in ritardo",
        ),
        "e",
        "con",
    ),
    "pt": Phrases(
        (
            "minha irmã está lendo um livro sobre a história da cidade",
            "hoje o tempo está muito bom",
            "as crianças não querem sair do jardim até a hora do jantar",
            "ninguém sabe quanto tempo isso ainda vai durar",
            "o trem chegou atrasado outra vez",
        ),
        "e",
        "com",
    ),
    "ru": Phrases(
        (
            "моя сестра читает книгу об истории города",
            "сегодня очень хорошая погода",
            "дети играют в саду до самого обеда",
            "никто не знает сколько ещё придётся ждать",
            "поезд снова опоздал",
        ),
        "и",
        "с",
    ),
}
"""Language by langdetect's code to its phrases."""
