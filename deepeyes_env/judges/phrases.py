"""The words by which answers are asserted, denied, doubted and corrected, in English and some other languages.

They are lower case, one word each; of scripts without spaces, one expression. Which of them a text holds is for
``deepeyes_env.judges.clauses`` to find and for ``deepeyes_env.judges.statements`` to read.
"""

from __future__ import annotations

import re
import unicodedata


def vocabulary(*listed: str) -> frozenset[str]:
    """Return the words of some lines; an underscore within a word stands for a space."""
    return frozenset(word.replace("_", " ") for line in listed for word in unicodedata.normalize("NFKC", line).split())


ANSWER = vocabulary(
    "answer answers option options choice choices letter selection pick conclusion verdict result solution guess",
    "response ans reply decision alternative respuesta opción opcion réponse reponse choix antwort lösung",
    "risposta opzione scelta resposta alternativa opção ответ вариант ответом відповідь варіант antwoord optie",
    "keuze odpowiedź odpověď svar svaret vastaus válasz răspuns răspunsul απάντηση cevap cevabı yanıt đáp_án answer's",
    "câu_trả_lời jawaban jawabannya उत्तर जवाब คำตอบ الإجابة الجواب الخيار תשובה התשובה پاسخ جواب ответа 正确答案",
    "正確答案 答案 选项 選項 答え 正解 解答 回答 選択肢 정답 답",
)
"""Nouns that announce an answer."""

CHOOSE = vocabulary(
    "mean meant get gives yields obtain choose choosing chose chosen select selected selecting picked picking go",
    "going went opt opted opting vote say conclude leaving leaves take mark circle tick settle points point leads",
    "lead corresponds correspond matches match identify elijo escojo selecciono choisis sélectionne wähle nehme",
    "scelgo seleziono escolho kies выбираю выберу обираю wybieram memilih pilih chọn seçiyorum väljer vælger",
    "velger valitsen 我选择 我选 我選擇 我選 故选 故選 应选 應選 选择 選擇 选 選 を選びます 選びます 선택",
)
"""Verbs that choose one."""

RIGHT = vocabulary(
    "correct right true best sense accurate valid appropriate fits fit matches match applies suits correcta",
    "correcto correcte richtig korrekt juste vrai bonne corretta corretto giusta certa certo верно верный верен",
    "правильный правильно juist poprawna doğru benar đúng सही ถูกต้อง صحيحة صحيح נכונה نکونه 正确 正確 正しい",
    "正解 对的 對的 맞습니다 맞다 맞아요",
)
"""What an option is said to be."""

BE = vocabulary(
    "sia sea soit seja wäre zou is are was be being would should must will can has have had seems seem appears",
    "appear looks look like remains 's to ist lautet sind es ser sería son est serait sont è é sarebbe seria são",
    "это является є це jest je är er on este είναι adalah ialah là है คือ هو هي היא הוא است olmalı 是 为 為",
    "应该是 應該是 应该 應該 应为 应是 就是 は が です でしょう である 은 는 이 가 입니다 이다 예요 이에요",
)
FILL = (
    vocabulary(
        "penso credo che creo pienso pense crois denke glaube acho думаю считаю denk dat sanırım the a an my our your",
        "this that its final finally correct right best true proper most very likely probably clearly definitely",
        "certainly simply just therefore thus hence then so and indeed obviously apparently surely only actually",
        "really overall again still fact course follows given by for of in on with at question here now above",
        "following number label labelled labeled marked text under as namely one it i think believe feel reckon we",
        "you let me do us they these those there he she which well ok okay sure yes great hello hi alright absolutely",
        "personally honestly please i'm i'd i'll i've we're that'd it'd that'll let's fairly pretty quite confident",
        "makes make changes changed change yang benar paling tepat certain convinced after upon looking look closer",
        "means itself",
        "closely zooming zoom zoomed inspection checking examining der die das le la les el los il lo o os de del du",
        "des dem den richtige korrekte correcte bonne corretta giusta certa правильный верный правильным итак поэтому",
        "также also donc entonces por tanto logo dunque quindi portanto так значит het juiste poprawna rätta korrekta",
        "因此 所以 的 了 我 认为 認為 我认为 我認為 本题 故 综上 那么 では よって したがって 따라서 번 最终 最終 이다",
    )
    | ANSWER
    | BE
    | RIGHT
)
"""Words that may stand around the option that is asserted without saying anything else."""

OFTEN_SAID = vocabulary(
    "what contain contains sell sells away far made hangs hang sits sit stands stand lies lie placed positioned",
    "degrees degree units unit image picture photo photograph crop cropped zoomed zooming zoom shown visible seen",
    "see sees saw can based looking look shows show from color colour into side part area region there has have having",
    "using located displayed appear written read reads says per around about exactly total were called named only",
    "held count counted counting sum equals equal value altogether overall amount gives get gets makes year",
    "approximately roughly nearly cost costs weighs measures next people person man woman player players wear",
    "wears worn wore hold holds carries rides points plays object thing item",
)
"""Words that often stand in a sentence that answers a question about an image and do not change the answer."""

POINTING = vocabulary(
    "it it's this that there here they these those that's there's he she es c'est это це è é det to",
)
"""Pronouns that take the place of what was asked for."""

NOT = vocabulary(
    "not no never neither nor none cannot without wrong incorrect false untrue except excluding excluded",
    "eliminated eliminate exclude discard discarded dismiss reject rejected unlike nothing nobody hardly rule",
    "ruled isnt doesnt dont kein keine keinen nicht nein falsch pas ne non faux incorrecta falsa não nao falso",
    "errado sbagliata errata не нет неверно неправильный ні niet geen nie ikke inte ei değil yanlış bukan salah",
    "không नहीं ไม่ ليس ليست לא نیست nem 不是 不 非 没有 没 沒有 错误 錯誤 错 排除 ではない ではありません",
    "じゃない ない 아니 아닙니다 아니라",
)
"""Words that deny."""

MAYBE = vocabulary(
    "maybe perhaps possibly might may could either possible plausible alternatively potentially unsure uncertain",
    "unclear quizás quizá tal_vez talvez peut-être vielleicht eventuell forse возможно может наверное misschien",
    "może kanske måske belki mungkin có_thể शायद อาจ ربما אולי شاید 可能 也许 也許 或许 或許 たぶん かもしれない",
    "かもしれません 아마",
)
"""Words that leave it open."""

OR = vocabulary(
    "or and oder und ou et o y e и или або і of en lub i oraz veya ya_da ve atau dan hoặc và या और หรือ และ أو או",
    "او eller och og tai ja vagy és & / + | , then versus vs 或 或者 和 与 與 还是 還是 及 または と 또는 이나 와",
    "과 및",
)
"""What joins several answers."""

BECAUSE = vocabulary(
    "because since as due explanation reason reasoning rationale given weil denn da begründung parce puisque",
    "car_le car_la car_les car_il car_elle car_on car_un car_une car_c'est car_ce car_cette",
    "porque pues perché perche poiché потому поскольку ведь бо тому omdat want ponieważ bo fordi eftersom çünkü",
    "karena vì क्योंकि เพราะ لأن כי چون 因为 因為 由于 由於 理由 ので から 왜냐하면 때문에 解释 解析",
)
BUT = vocabulary(
    "but however yet nevertheless nonetheless though although still whereas while pero sino mais cependant aber",
    "sondern jedoch ma però bensì mas porém но однако а maar echter ale lecz men fakat ama tetapi tapi nhưng",
    "लेकिन แต่ لكن אבל اما 但是 但 不过 不過 然而 而是 しかし でも が、 하지만 그러나",
)
CONCEDING = vocabulary("though although while whereas obwohl aunque bien embora хотя 虽然 雖然 尽管 けれども 비록")
"""Words that begin a clause which the rest of its sentence overrules."""

SO = vocabulary(
    "so therefore thus hence consequently accordingly then donc entonces quindi dunque portanto logo итак поэтому",
    "значит следовательно dus więc alltså så yani jadi vậy इसलिए ดังนั้น لذلك לכן بنابراین 所以 因此 故 因而",
    "よって したがって だから 따라서 그래서",
)
CORRECTION = vocabulary(
    "wait actually correction oops sorry rather instead hmm scratch no nope mean reconsidering oh rechecking",
    "eigentlich vielmehr perdón plutôt attends anzi вернее точнее нет стоп 等等 不对 不對 其实 實際上 いや 아니",
)
"""Words after which an answer takes the place of the one before."""

TURNING = CORRECTION | BUT | FILL | vocabulary("no not second more check double again changed mind that's")
"""Words of a clause that does no more than announce a correction."""

RETRACTED = vocabulary(
    "thought initially originally first glance seemed appeared considered assumed tempted earlier previously",
    "suspected думал сначала zuerst dachte pensé pensaba pensais d'abord pensavo achei 起初 最初 一开始 原本",
)
"""Words that tell of an answer that was given up."""

ALSO = vocabulary(
    "also too both well equally additionally plus another auch también aussi anche também также тоже 也 都 も 도",
)
"""Words by which a second answer joins the first."""

FORCED = re.compile(r"if\b.*\b(?:ha[dv]e? to|must|forced|asked|look(?:ed|ing)?|zoom(?:ed)?)\b")
"""A condition under which an answer is given all the same, as in "if I had to choose"."""

CONDITION = vocabulary("if unless whether when suppose assuming wenn falls si se если когда 如果 若 もし 만약")
RELATIVE = vocabulary("which who whose where welche qui que который")

NO_DOUBT = re.compile(
    r"\b(?:no (?:doubt|question)|(?:without|beyond) (?:a |any )?(?:shadow of a )?doubt|not only|no(?:ne)? other than"
    r"|nothing (?:but|other than)|can(?:not|'t) be anything (?:but|other than)|undoubtedly)\b",
    re.IGNORECASE,
)
"""Words that look like denial or doubt and are neither."""

ALL_BUT = re.compile(r"\b(?:any|every|all)(?:thing|one|body)?(?: \w+)? (?:but|except(?: for)?)\b", re.IGNORECASE)
"""Words that deny what follows."""

_CANNOT = r"(?:\bcannot|\bcan ?not|\bcould ?not|n't|\bnot|\bunable to|\bimpossible to|\bhard to|\bdifficult to)"
DOUBT = re.compile(
    r"(?:\bnot|n't|\bnever) (?:\w+ )?(?:sure|certain|clear|confident|know|possible)\b"
    r"|\bun(?:sure|certain|clear|known|decided)\b|\bambiguous\b|\bno idea\b|\bno way (?:of|to)\b"
    r"|\b(?:insufficient|not enough)\b|\bit depends\b|\bn/a\b"
    rf"|{_CANNOT} (?:\w+ ){{0,3}}?(?:determin\w*|tell|say|know|answer\w*|decide\w*|conclu\w*|verif\w*|confirm\w*"
    r"|judge\w*|help|assist|process|view|access)\b"
    r"|\bno s[eé]\b|\bweiß (?:\w+ )?nicht\b|\bne sais pas\b|\bnon (?:lo )?so\b|\bnão sei\b|\bне (?:знаю|уверен\w*)\b"
    r"|不确定|不確定|无法|無法|不能确定|不知道|看不清|不清楚|わからない|わかりません|判断できません|모르겠|알 수 없"
)
"""That an answer is not known, in lower-case text."""

UNSEEN = re.compile(rf"{_CANNOT} (?:\w+ ){{0,3}}?(?:see|identif\w*|read|make out|discern\w*|find)\b")
"""That something is not seen, in lower-case text."""
