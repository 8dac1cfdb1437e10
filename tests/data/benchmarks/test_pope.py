import pickle

import pytest

from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.errors import DataError
from deepeyes_env.judges.yes_no import YesNoJudge


def record(number, image="COCO_val2014_1.jpg", label="yes"):
    return {"question_id": number, "image": image, "text": f"Is there a dog {number} in the image?", "label": label}


@pytest.mark.parametrize("folder", [".", "val2014", "images", "../val2014"])
def test_one_of_its_own_files(put_lines, put_image, folder):
    path = put_lines("coco/coco_pope_random.json", record(1), record(2, label="no"))
    put_image(f"coco/{folder}/COCO_val2014_1.jpg")
    bench, data = open_benchmark("POPE", path)
    yes, no = data
    assert (bench.metric, bench.judge) == ("yes_no", "yes_no")
    assert (yes.id, yes.answer, no.answer) == ("random/1", "yes", "no")
    assert yes.question == "Is there a dog 1 in the image? Answer yes or no."
    assert yes.metadata == {"category": "random", "split": ["random"]}
    assert not yes.options
    assert YesNoJudge()("No, there is none", no).score == 1


def test_a_folder_of_splits(put_lines, put_image, tmp_path):
    for split in ("random", "popular", "adversarial"):
        put_lines(f"coco_pope_{split}.json", record(1), record(2))
    put_lines("coco_pope_popular_answers.txt", {})
    put_image("val2014/COCO_val2014_1.jpg")
    _, data = open_benchmark("pope", tmp_path)
    assert len(data) == 6
    ids = [sample.id for sample in data]
    assert ids == [f"{split}/{n}" for split in ("random", "popular", "adversarial") for n in (1, 2)]
    assert {sample.metadata["category"] for sample in data} == {"random", "popular", "adversarial"}


def test_a_folder_with_a_split_twice_or_none(put_lines, tmp_path):
    with pytest.raises(DataError, match=r"holds no POPE file. Expected: coco_pope_random.json"):
        open_benchmark("pope", tmp_path)
    put_lines("coco_pope_random.json", record(1))
    put_lines("gqa_pope_random.json", record(1))
    with pytest.raises(DataError, match=r"several files for the split random: coco_pope_random.json, gqa_pope_random"):
        open_benchmark("pope", tmp_path)


def test_vlmevalkits_tsv(put_tsv):
    row = {"question": "Is there a dog? Please answer yes or no.", "answer": "Yes", "category": "popular"}
    _, data = open_benchmark("pope", put_tsv("POPE.tsv", row, row | {"answer": "No"}))
    yes, no = data
    assert (yes.answer, no.answer) == ("yes", "no")
    assert yes.question == row["question"]
    assert yes.metadata == {"category": "popular", "split": ["popular"]}


def test_a_question_of_several_splits_belongs_to_each(put_tsv):
    row = {"question": "Is there a dog?", "answer": "Yes", "category": "adversarial,popular,random"}
    ((sample,),) = open_benchmark("pope", put_tsv("POPE.tsv", row))[1:]
    assert sample.metadata["split"] == ["adversarial", "popular", "random"]
    assert sample.metadata["category"] == row["category"]


def test_parquet(put_parquet, make_jpeg):
    rows = [
        {"id": str(i), "question_id": str(i), "question": "Is there a dog?", "answer": "no", "category": "adversarial",
         "image": {"bytes": make_jpeg(color=i), "path": None}}
        for i in range(5)
    ]  # fmt: skip
    _, data = open_benchmark("pope", put_parquet("test-0.parquet", rows))
    assert [sample.images[0].encoded() for sample in data] == [row["image"]["bytes"] for row in rows]
    assert data[3].id == "adversarial/3"
    assert data[-1].id == "adversarial/4"
    again = pickle.loads(pickle.dumps(data))
    assert [sample.images[0].digest for sample in again] == [sample.images[0].digest for sample in data]
    with pytest.raises(IndexError):
        data[5]


def test_bad_rows_and_files(put_lines, put_image, put_parquet):
    put_image("COCO_val2014_1.jpg")
    data = open_benchmark(
        "pope", put_lines("p.jsonl", record(1), record(2, label="maybe"), record(3, image="COCO_val2014_9.jpg"))
    )[1]
    assert data[0].answer == "yes"
    with pytest.raises(DataError, match=r"p.jsonl, row 1: answer 'maybe' is neither yes nor no"):
        data[1]
    with pytest.raises(
        DataError, match=r"row 2: there is no image 'COCO_val2014_9.jpg'; put it into one of: .*val2014"
    ):
        data[2]
    with pytest.raises(DataError, match=r"has no 'label' or 'answer'; it has 'question_id', 'text'"):
        open_benchmark("pope", put_lines("q.jsonl", {"question_id": 1, "text": "?", "category": "random"}))
    torn = put_lines("r.jsonl", record(1))
    torn.write_text(torn.read_text() + "{half")
    with pytest.raises(DataError, match="line 2 is not JSON"):
        open_benchmark("pope", torn)
    with pytest.raises(DataError, match="lacks the column image; it has 'question'"):
        open_benchmark("pope", put_parquet("p.parquet", [{"question": "?"}]))
