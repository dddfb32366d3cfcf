"""Names of columns and tables in other languages, put into the English words that are known.

Terms are those of shop systems, learning platforms and forums. Only names are looked up, so a term
that means something else in running text does no harm.
"""

import re
import unicodedata
from functools import cache

TERMS: dict[str, str] = {
    # who
    "customer": "kunde kunden kundin client cliente clienti klant klanten klient klienta "
    "klienci musteri клиент заказчик 顾客 客户 顧客 お客様 고객",
    "buyer": "kaufer kaeufer besteller acheteur comprador compradora acquirente koper kupujacy "
    "покупател 买家 購入者 구매자",
    "user": "nutzer benutzer anwender utilisateur usuario usuaria utente utilizador gebruiker "
    "uzytkownik kullanici пользовател 用户 使用者 利用者 ユーザー ユーザ 사용자",
    "member": "mitglied membre miembro socio membro lid czlonek участник 会员 会員 회원",
    "subscriber": "abonnent abonne abonnee suscriptor abbonato abonent подписчик",
    "student": "schueler schuler teilnehmer lerner etudiant etudiante eleve apprenant alumno "
    "alumna estudiante studente aluno aluna leerling cursist uczen ogrenci ученик студент "
    "слушател 学员 学生 学习者 受講者 生徒 수강생 학생",
    "reader": "leser lecteur lectrice lector lettore leitor lezer czytelnik читател 读者 読者 독자",
    # what
    "article": "artikel articulo articolo artigo artykul 文章 記事",
    "product": "produkt produit producto prodotto produto product produktu ware waren towar "
    "urun продукт товар 商品 产品 産品 製品 상품 제품",
    "item": "artikul артикул 物品 アイテム 品番 품목",
    "book": "buch bucher buecher livre livres libro libros libri livro livros boek boeken "
    "ksiazka kitap книг 图书 书籍 書籍 图书馆 도서",
    "course": "kurs kurse cours curso cursos corso corsi cursus kursu курс 课程 課程 講座 "
    "コース 강의 강좌",
    "film": "pelicula peliculas filme filmes фильм 电影 映画 영화",
    "video": "видео 视频 動画 동영상",
    # what it is called, and said of it
    "title": "titel titre titulo titolo tytul titulos baslik заголов 标题 题名 タイトル 題名 제목",
    "name": "bezeichnung benennung nom libelle designation nombre denominacion nome naam nazwa "
    "назван наименован имя 名称 名字 名前 名 品名 이름 명",
    "description": "beschreibung langtext kurztext omschrijving beschrijving descriptif "
    "descripcion descrizione descricao opis aciklama описан 描述 简介 介绍 说明 详情 説明 紹介 "
    "詳細 概要 설명",
    "summary": "zusammenfassung resume resumen riassunto resumo samenvatting 摘要 要約",
    "text": "inhalt contenu contenido contenuto conteudo tresc текст 内容 正文 本文",
    "category": "kategorie warengruppe rubrik sparte categorie categoria rayon kategoria "
    "kategori seccion reparto категори раздел 类别 分类 类目 种类 类型 カテゴリー カテゴリ "
    "分類 카테고리 분류",
    "genre": "genero genere gatunek жанр 流派 ジャンル 장르",
    # how much
    "quantity": "menge anzahl stuck stueck stuckzahl stueckzahl quantite qte cantidad cant "
    "unidades quantita quantidade qtd aantal hoeveelheid ilosc liczba adet miktar количеств "
    "数量 件数 個数 点数 수량",
    "rating": "bewertung wertung notation valoracion puntuacion calificacion valutazione voto "
    "avaliacao beoordeling waardering ocena puan оценк рейтинг 评分 打分 評価 評点 평점 별점",
    "stars": "sterne etoiles estrellas stelle estrelas sterren gwiazdki звезд 星级",
    "note": "nota",
    "price": "preis stuckpreis prix precio prezzo preco prijs cena fiyat цен 价格 单价 価格 "
    "単価 가격",
    "money": "betrag umsatz summe montant importe monto importo bedrag omzet kwota tutar сумм "
    "выручк стоимост 金额 总价 销售额 金額 売上 금액",
    # when
    "day": "tag jour dia giorno dag dzien gun день 天 日 일",
    "study": "学习 学習 학습",
    "date": "datum fecha data tarih dat дат 日期 日付 날짜",
    "time": "zeit uhrzeit heure hora ora tijd czas godzina saat врем 时间 時間 時刻 시간 일시",
    "timestamp": "zeitpunkt zeitstempel horodatage tijdstip 时间戳 日時",
    "created": "erstellt angelegt cree creado creato criado aangemaakt создан 创建",
    # what happened
    "order": "bestellung bestell auftrag commande pedido ordine encomenda bestelling "
    "zamowienie siparis заказ 订单 注文 주문",
    "invoice": "rechnung rechnungs beleg facture factura fattura fatura factuur faktura чек "
    "счет 发票 請求",
    "purchase": "kauf einkauf achat compra acquisto aankoop zakup покупк 购买 购入 購入 구매",
    "event": "ereignis evenement evento gebeurtenis zdarzenie событи 事件 イベント 이벤트",
    "action": "aktion accion azione acao actie akcja действи 行为 动作 行動",
    "available": "verfugbar verfuegbar lieferbar disponible disponibile disponivel beschikbaar "
    "dostepny доступ 可用",
    "stock": "bestand lagerbestand lager existencias giacenza estoque voorraad magazyn остат "
    "налич 库存 在庫 재고",
    "sequence": "reihenfolge ordre orden sequenza ordem volgorde kolejnosc 顺序 順序",
    # ids
    "number": "nummer nr numero num numer no numara номер 编号 号码 号 番号 번호",
    "code": "kennung schlussel schluessel codigo codice kod код 编码 代码 コード 코드",
    "reference": "ref referenz referencia riferimento",
    "id": "ид",
}
"""English term → the terms that mean it, in lower case and without accents; Cyrillic ones are the
beginnings that all their forms share."""
LINKS = ("s", "es", "n", "en", "e")
"""What German puts between the parts of a compound."""
ENDINGS = 3
"""Letters that a Russian word may have after its beginning."""
UNDECOMPOSED = str.maketrans({"ł": "l", "ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ı": "i"})
NUMBER_SIGN = re.compile(r"\b[nN]\s?[°º]|[№#](?=\s*\w)")
QUANTITY_SIGN = re.compile(r"\bкол-?во\b", re.IGNORECASE)
PARTICLES = re.compile(
    r"\b(?:de|du|des|del|della|di|do|da|der|die|das|von|van|la|le|el|l|d)\b", re.IGNORECASE
)
"""Small words between the terms of a name that was in another language."""
ENGLISH = {term: english for english, terms in TERMS.items() for term in terms.split()}
MAX_LENGTH = max(map(len, ENGLISH))
KNOWN_PARTS = frozenset({"id", "ids", "url", "text", "name", "code", "status", "order", "user"})
"""English words that stand in compounds of other languages: 用户ID, Kundencode."""


@cache
def english(name: str) -> str:
    """A name with the words that are known in English; a name in English stays as it is."""
    signs = QUANTITY_SIGN.sub("quantity", NUMBER_SIGN.sub(" number ", name))
    translated = re.sub(r"[^\W\d_]+", lambda word: _word(word.group()), fold(signs))
    return name if translated == name else PARTICLES.sub(" ", translated)


def fold(text: str) -> str:
    """A text without accents, composed alike; the case stays."""
    text = unicodedata.normalize("NFKC", text).translate(UNDECOMPOSED)
    letters = []
    for character in text:
        parts = unicodedata.normalize("NFD", character)
        # Marks of Japanese and of й change the letter itself.
        letters.append(parts[0] if parts[0].isascii() else character)
    return "".join(letters)


@cache
def _word(word: str) -> str:
    lower = word.casefold()
    if lower in ENGLISH:
        return ENGLISH[lower]
    if lower.isascii() and not word.islower() and not word.isupper() and not word.istitle():
        return word  # parts are told by their case
    parts = _parts(lower)
    return word if parts is None else f" {' '.join(parts)} "


def _parts(word: str) -> list[str] | None:
    """The English terms of a compound, or None where a part of it is not known."""
    if not word:
        return []
    for length in range(min(MAX_LENGTH, len(word)), 1 if word.isascii() else 0, -1):
        start, rest = word[:length], word[length:]
        term = ENGLISH.get(start) or (start if start in KNOWN_PARTS else None)
        if term is None:
            continue
        if "а" <= start[0] <= "я":
            if len(rest) <= ENDINGS:
                return [term]
            continue
        for link in ("", *(LINKS if word.isascii() else ())):
            if rest.startswith(link):
                parts = _parts(rest.removeprefix(link))
                if parts is not None:
                    return [term, *parts]
    return None
