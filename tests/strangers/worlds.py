"""Small worlds that strangers export: what is there to be had, and who took what, when, how often.

Every shape of file is a rendering of one of them, so that what should be understood is known.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

USERS = 36
IN_TASTE = 0.8
"""The share of a user's interactions with items of the one category that the user likes."""
BEGIN = datetime(2023, 1, 9, 8, 15, tzinfo=UTC)


class Item(NamedTuple):
    """Something to be had. `number` is 1, 2, …"""

    number: int
    title: str
    text: str
    category: str


class Event(NamedTuple):
    """Somebody took something. `user` is 1, 2, …; `stars` are 1 to 5, and one of each pair."""

    user: int
    item: Item
    quantity: int
    stars: int
    at: datetime


@dataclass(frozen=True)
class World:
    """Items, and events in the order of time."""

    items: tuple[Item, ...]
    events: tuple[Event, ...]


def _world(seed: int, shelves: dict[str, dict[str, str]]) -> World:
    items = [
        Item(number, title, text, category)
        for number, (category, title, text) in enumerate(
            (
                (category, title, text)
                for category, shelf in shelves.items()
                for title, text in shelf.items()
            ),
            start=1,
        )
    ]
    chance = random.Random(seed)
    categories = list(shelves)
    taken = []
    for user in range(1, USERS + 1):
        taste = categories[user % len(categories)]
        liked = [item for item in items if item.category == taste]
        for _ in range(chance.randint(4, 9)):
            item = chance.choice(liked if chance.random() < IN_TASTE else items)
            taken.append((user, item, chance.choice((1, 1, 1, 2, 3, 5))))
    chance.shuffle(taken)
    stars = {(user, item.number): chance.choice((2, 3, 4, 4, 5)) for user, item, _ in taken}
    at, events = BEGIN, []
    for user, item, quantity in taken:
        at += timedelta(minutes=chance.randint(90, 2_800), seconds=chance.randint(0, 59))
        events.append(Event(user, item, quantity, stars[user, item.number], at))
    return World(tuple(items), tuple(events))


@cache
def german_kitchen() -> World:
    """A shop for kitchen, desk and garden."""
    return _world(
        1,
        {
            "Küche": {
                "Emaille-Tasse rot": "Handgefertigte Tasse aus Emaille, spülmaschinenfest",
                "Schneidebrett Eiche": "Massives Brett aus geölter Eiche, 40 × 25 cm",
                "Pfeffermühle": "Mahlwerk aus Keramik, für groben und feinen Pfeffer",
                "Käsereibe": "Scharfe Reibe aus Edelstahl für Hartkäse",
                "Brotkorb": "Korb aus Weide mit herausnehmbarem Leinentuch",
                "Rührschüssel groß": "Schüssel aus Steingut mit Ausguss, 3 Liter",
            },
            "Büro": {
                "Füllfederhalter": "Feder aus Edelstahl, Breite M, mit zwei Patronen",
                "Notizbuch liniert": "160 Seiten, fadengeheftet, dunkelgrüner Einband",
                "Schreibtischlampe": "Gelenkarm, warmweißes Licht, stufenlos dimmbar",
                "Ablagekorb": "Stapelbarer Korb aus Draht für Papier in DIN A4",
                "Bürostuhl Filz": "Sitz aus grauem Filz, höhenverstellbar",
                "Tischkalender": "Eine Woche auf zwei Seiten, mit Mondphasen",
            },
            "Garten": {
                "Gießkanne Zink": "Zehn Liter, mit abnehmbarer Brause aus Messing",
                "Rosenschere": "Geschmiedete Klinge, Griffe aus Eschenholz",
                "Vogelhäuschen": "Nistkasten für Meisen aus unbehandelter Lärche",
                "Kräutersamen": "Basilikum, Thymian und Schnittlauch, samenfest",
                "Gartenhandschuhe": "Leder und Baumwolle, Größe 9",
                "Hängematte": "Gewebt aus Biobaumwolle, bis 150 kg",
            },
        },
    )


@cache
def french_books() -> World:
    """A bookshop."""
    return _world(
        2,
        {
            "Polar": {
                "Le Vol de minuit": "Un inspecteur fatigué suit la trace d'un train disparu",
                "Sang d'encre": "Un imprimeur lyonnais retrouvé mort sous sa presse",
                "La Dernière Clé": "Un serrurier, trois coffres et un mensonge de trop",
                "Quai des brumes noires": "Le Havre, l'hiver, et un témoin qui se tait",
                "L'Alibi": "Deux sœurs, une même nuit, deux récits opposés",
            },
            "Cuisine": {
                "Cent tartes salées": "Des recettes simples pour le four de tous les jours",
                "Le Pain à la maison": "Levain, pétrissage et cuisson pas à pas",
                "Légumes d'hiver": "Soupes, gratins et salades de saison",
                "Épices et marinades": "Un tour du monde en soixante mélanges",
                "Desserts sans gluten": "Gâteaux, crèmes et fruits pour tous",
            },
            "Voyage": {
                "À pied en Bretagne": "Vingt randonnées entre landes et rochers",
                "Îles grecques": "Itinéraires en bateau, criques et tavernes",
                "Lisbonne en trois jours": "Plans, adresses et tramways",
                "Carnets du Sahara": "Récit d'une traversée avec les caravanes",
                "Trains d'Europe": "Les plus belles lignes, de jour et de nuit",
            },
        },
    )


@cache
def chinese_courses() -> World:
    """A platform of courses."""
    return _world(
        3,
        {
            "编程": {
                "Python 程序设计入门": "从变量、循环到函数，零基础学习编程",
                "数据结构与算法": "链表、树、图以及排序和查找算法",
                "数据库原理": "关系模型、SQL 查询与事务管理",
                "机器学习基础": "线性回归、分类与神经网络初步",
                "操作系统": "进程、内存管理与文件系统",
            },
            "历史": {
                "中国古代史": "从先秦到清代的政治与社会变迁",
                "丝绸之路": "东西方贸易与文化交流的历史",
                "世界近代史": "工业革命、殖民扩张与民族国家",
                "考古学导论": "田野发掘、断代与文物保护",
                "宋代的城市生活": "市场、茶馆与印刷术",
            },
            "艺术": {
                "水墨画技法": "笔墨、构图与山水画临摹",
                "西方音乐欣赏": "巴洛克到浪漫主义的代表作品",
                "摄影基础": "光线、构图与后期处理",
                "书法入门": "楷书的基本笔画与结构",
                "电影语言": "镜头、剪辑与叙事分析",
            },
        },
    )


@cache
def russian_shop() -> World:
    """A shop for outdoors, tea and toys."""
    return _world(
        4,
        {
            "Туризм": {
                "Палатка двухместная": "Лёгкая палатка с тамбуром и защитой от дождя",
                "Спальный мешок": "Тёплый мешок для весны и осени, до минус пяти",
                "Горелка газовая": "Складная горелка с пьезоподжигом",
                "Рюкзак 60 литров": "Рюкзак с жёсткой спинкой и чехлом от дождя",
                "Фонарь налобный": "Светодиодный фонарь, три режима яркости",
            },
            "Чай": {
                "Иван-чай": "Ферментированный кипрей с листом смородины",
                "Зелёный чай": "Крупнолистовой чай высокогорных плантаций",
                "Чёрный чай с чабрецом": "Крепкий чай с душистыми травами",
                "Самовар": "Медный самовар на три литра, ручная работа",
                "Набор чашек": "Шесть фарфоровых чашек с росписью",
            },
            "Игрушки": {
                "Деревянный поезд": "Поезд с тремя вагонами из берёзы",
                "Кукла тряпичная": "Мягкая кукла в сарафане, сшита вручную",
                "Пирамидка": "Разноцветные кольца для самых маленьких",
                "Конструктор": "Двести деталей, инструкция для десяти моделей",
                "Настольная игра": "Игра для всей семьи о путешествиях",
            },
        },
    )


@cache
def japanese_stationery() -> World:
    """A shop for paper, tea ware and music."""
    return _world(
        5,
        {
            "文具": {
                "和紙ノート": "手すきの和紙を使った無地のノート",
                "万年筆": "細字のペン先で書きやすい万年筆",
                "筆ペン": "年賀状に使える筆タイプのペン",
                "便箋セット": "季節の花を描いた便箋と封筒",
                "硯": "墨をするための天然石の硯",
            },
            "茶器": {
                "急須": "常滑焼の急須、煎茶に合う大きさ",
                "湯呑み": "手になじむ素焼きの湯呑み",
                "抹茶茶碗": "美濃焼の抹茶茶碗、黒釉",
                "茶筅": "百本立ての竹製の茶筅",
                "茶筒": "桜の樹皮を使った茶筒",
            },
            "音楽": {
                "尺八入門": "初心者のための尺八の教本と音源",
                "三味線の弦": "津軽三味線用の絹の弦",
                "琴の楽譜": "古典曲を集めた琴の楽譜",
                "太鼓のばち": "樫の木で作った太鼓のばち",
                "笛": "祭りで使う竹の横笛",
            },
        },
    )


@cache
def english_films() -> World:
    """Films, with the commas and quotes that titles have."""
    return _world(
        6,
        {
            "Thriller": {
                "Night Ferry, The": "A smuggler, a storm and a passenger who never boarded.",
                'The "Honest" Thief': "He leaves receipts. The police would rather he did not.",
                "Cold Harbour": "A diver finds a car, and in it the mayor's briefcase.",
                "Glass Alibi": "A window cleaner sees too much on the thirtieth floor.",
                "Last Call, Please": "A switchboard operator hears a murder being planned.",
            },
            "Comedy": {
                "My Neighbour's Goat": "A lawn, a goat, and two stubborn families.",
                "Two Weddings, One Cake": "The baker has a plan. It melts.",
                "The Understudy": "Opening night, and the lead is stuck in a lift.",
                "Plan B": "Four friends rob a bank that closed last year.",
                "Auntie Goes to Space": "She only wanted a discount on the telescope.",
            },
            "Nature": {
                "Rivers of Ice": "A year at the edge of a glacier.",
                "The Secret Meadow": "Ten thousand insects and one patient camera.",
                "Deep Blue Silence": "Whales, filmed from their own point of view.",
                "Wolf Winter": "A pack crosses the frozen lake.",
                "Seeds": "How a forest travels.",
            },
        },
    )


@cache
def spanish_courses() -> World:
    """A learning platform."""
    return _world(
        7,
        {
            "Idiomas": {
                "Inglés para viajar": "Frases útiles para el aeropuerto, el hotel y la calle",
                "Alemán desde cero": "Pronunciación, saludos y primeras declinaciones",
                "Francés conversacional": "Diálogos cotidianos y expresiones frecuentes",
                "Japonés básico": "Hiragana, katakana y las primeras palabras",
                "Portugués de Brasil": "Diferencias y semejanzas con el español",
            },
            "Negocios": {
                "Contabilidad básica": "Asientos, balance y cuenta de resultados",
                "Hojas de cálculo": "Fórmulas, tablas dinámicas y gráficos",
                "Hablar en público": "Vencer los nervios y estructurar un discurso",
                "Gestión de proyectos": "Planificar, repartir tareas y medir avances",
                "Finanzas personales": "Presupuesto, ahorro e inversión sencilla",
            },
            "Oficios": {
                "Carpintería en casa": "Herramientas, uniones y un primer estante",
                "Cerámica a mano": "Amasar, modelar y esmaltar piezas sencillas",
                "Huerto urbano": "Macetas, semillas y riego en el balcón",
                "Costura": "Patrones, puntadas y arreglos de ropa",
                "Electricidad doméstica": "Enchufes, lámparas y seguridad",
            },
        },
    )
