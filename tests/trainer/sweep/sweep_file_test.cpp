// Sweep files: grids, their cells, baselines, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/sweep/sweep_case.h"
#include "trainer/sweep/sweep_tuning.h"

namespace vmla::trainer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::names_of;
using ::testing::SizeIs;
using ::testing::StartsWith;

class SweepFiles : public testing::SweepCase {};

TEST_F(SweepFiles, SpanAGridWithTheLastAxisFastest) {
  const SweepFile sweep = read(
      "seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: [4, 8]\n  tf.init.method: [svd_weight, "
      "random]\n");
  EXPECT_EQ(sweep.name, "sweep");
  EXPECT_THAT(names_of(sweep.cells),
              ElementsAre("kv_lora_rank=4,method=svd_weight",
                          "kv_lora_rank=4,method=random",
                          "kv_lora_rank=8,method=svd_weight",
                          "kv_lora_rank=8,method=random"));
  EXPECT_THAT(sweep.cells[1].labels, ElementsAre("4", "random"));
  EXPECT_EQ(sweep.metrics[0].stage, "tf");
  EXPECT_EQ(sweep.metrics[0].key, "validation_loss");
}

TEST_F(SweepFiles, AxesMaySetSeveralKeysAndAreNamedApart) {
  const SweepFile sweep = read(
      "seeds: [0]\ngrid:\n"
      "  zero.optimizer.lr: [1e-3]\n"
      "  tf.optimizer.lr: [1e-3, 2e-3]\n"
      "  window: {keys: [tf.model.local_attn_size, tf.model.sink_size], values: [3, 4]}\n"
      "  rope: {values: {narrow: {tf.model.qk_nope_head_dim: 26, tf.model.qk_rope_head_dim: "
      "6}}}\n");
  EXPECT_EQ(sweep.axes[0].name, "zero.optimizer.lr");
  EXPECT_EQ(sweep.axes[1].name, "tf.optimizer.lr");
  EXPECT_EQ(sweep.axes[2].name, "window");
  ASSERT_THAT(sweep.axes[2].values[1].settings, SizeIs(2));
  EXPECT_EQ(sweep.axes[2].values[1].settings[1].key, "tf.model.sink_size");
  EXPECT_EQ(sweep.axes[3].values[0].label, "narrow");
  EXPECT_EQ(sweep.axes[3].values[0].settings[0].value.scalar, "26");
  EXPECT_THAT(sweep.cells, SizeIs(4));
}

TEST_F(SweepFiles, CellsAreTakenOutAndAdded) {
  const SweepFile sweep = read(
      "seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: [4, 8, 24]\n  tf.init.method: [svd_weight, "
      "random]\n"
      "exclude:\n- {kv_lora_rank: [4, 8], method: random}\n"
      "cells:\n- {name: dense, set: {tf.model.attention: dense, tf.init.method: \"\"}}\n");
  EXPECT_THAT(names_of(sweep.cells),
              ElementsAre("kv_lora_rank=4,method=svd_weight",
                          "kv_lora_rank=8,method=svd_weight",
                          "kv_lora_rank=24,method=svd_weight",
                          "kv_lora_rank=24,method=random",
                          "dense"));
  EXPECT_THAT(names_of(read("seeds: [3, 4]\n").cells), ElementsAre("base"));
}

TEST_F(SweepFiles, NamesThatNoFileSystemTakesAreRefused) {
  const std::string name(300, 'n');
  EXPECT_THAT(error("seeds: [0]\n", name), HasSubstr(": base: no file "));
  folder_.write("long.yaml", "stages:\n- {name: zero, config: " + name + "}\n");
  EXPECT_THAT(error("seeds: [0]\n", "long.yaml"), HasSubstr("config: no file "));
}

TEST_F(SweepFiles, ABaselineIsACellOrAPlaceOnSomeAxes) {
  const std::string grid =
      "seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: [4, 8]\n  tf.init.method: [svd_weight, random]\n"
      "cells:\n- {name: other, set: {tf.train.steps: 5}}\n";
  const SweepFile along = read(grid + "baseline: {method: svd_weight}\n");
  EXPECT_FALSE(baseline_of(along, 0));
  EXPECT_EQ(baseline_of(along, 1), 0u);
  EXPECT_FALSE(baseline_of(along, 2));
  EXPECT_EQ(baseline_of(along, 3), 2u);
  EXPECT_FALSE(baseline_of(along, 4));  // it lies at no rank
  for (const char* one : {"baseline: {method: svd_weight, kv_lora_rank: 4}\n",
                          "baseline: \"kv_lora_rank=4,method=svd_weight\"\n"}) {
    const SweepFile cell = read(grid + one);
    EXPECT_FALSE(baseline_of(cell, 0));
    for (const size_t other : {1, 2, 3, 4}) EXPECT_EQ(baseline_of(cell, other), 0u);
  }
  EXPECT_FALSE(baseline_of(read(grid), 1));
}

TEST_F(SweepFiles, FiguresMayNameTheirStage) {
  const SweepFile sweep = read(
      "seeds: [0]\nmetrics: [zero.validation_loss, rank.entropy_rank]\n"
      "targets: {curve: tf.validation_loss, values: [0.4, 0.35]}\n");
  EXPECT_EQ(sweep.metrics[0].stage, "zero");
  EXPECT_EQ(sweep.metrics[0].key, "validation_loss");
  EXPECT_EQ(sweep.metrics[1].stage, "tf");
  EXPECT_EQ(sweep.metrics[1].key, "rank.entropy_rank");
  EXPECT_THAT(sweep.targets->values, ElementsAre(0.4, 0.35));
}

TEST_F(SweepFiles, TuneGroupsCells) {
  const SweepFile sweep = read(
      "seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: [4, 8]\n  tf.init.method: [svd_weight, random]\n"
      "tune: {key: tf.optimizer.lr, values: [1e-3, 2e-3], seeds: [7], per: [method],\n"
      "  at: {kv_lora_rank: 8}, set: {tf.train.steps: 9}}\n");
  const auto groups = tune_groups(sweep);
  ASSERT_THAT(groups, SizeIs(2));
  EXPECT_EQ(groups[1].name, "method=random");
  EXPECT_THAT(groups[1].cells, ElementsAre(1u, 3u));
  EXPECT_THAT(names_of(tune_cells(sweep, groups)),
              ElementsAre("method=svd_weight,lr=1e-3",
                          "method=svd_weight,lr=2e-3",
                          "method=random,lr=1e-3",
                          "method=random,lr=2e-3"));
  const SweepPlan runs = resolve_runs(sweep, tune_cells(sweep, groups), {7}, kSweepTune, run_dir());
  const TrainConfig& last = runs.runs.back().pipeline.stages[1].config;
  EXPECT_EQ(last.model.kv_lora_rank.values[0], 8);
  EXPECT_EQ(last.init.method, "random");
  EXPECT_EQ(last.optimizer.lr, 2e-3);
  EXPECT_EQ(last.train.steps, 9);
  EXPECT_EQ(last.seed, 7);
  const auto cells = tuned_cells(sweep, groups, {0, 1});
  const SweepPlan tuned = resolve_runs(sweep, cells, {0}, kSweepCells, run_dir());
  EXPECT_EQ(tuned.runs[2].pipeline.stages[1].config.optimizer.lr, 1e-3);
  EXPECT_EQ(tuned.runs[3].pipeline.stages[1].config.optimizer.lr, 2e-3);
  EXPECT_NE(tuned.runs[3].pipeline.stages[1].config.train.steps, 9);
}

TEST_F(SweepFiles, TheBestValueHasTheLeastMeanOfThoseThatAreWhole) {
  EXPECT_EQ(best_value({{3, 4}, {1, 2}, {0, NAN}}, false), 1u);
  EXPECT_EQ(best_value({{3, 4}, {1, 2}, {9, NAN}}, true), 0u);
  EXPECT_EQ(best_value({{1, 2}, {2, 1}}, false), 0u);
  EXPECT_FALSE(best_value({{NAN}, {NAN}}, false));
}

TEST_F(SweepFiles, MistakesNameFileAndLine) {
  const std::string at = file_.string();
  EXPECT_THAT(error("seed: [0]\n"), HasSubstr(":2: unknown key seed; did you mean seeds?"));
  EXPECT_THAT(error("grid: {tf.model.kv_lora_rank: [2]}\n"), HasSubstr("seeds is missing"));
  EXPECT_THAT(error("seeds: [0, 1, 0]\n"), HasSubstr(":2: seeds: 0 is given twice"));
  EXPECT_THAT(error("seeds: [0]\n", "none.yaml"), HasSubstr(":1: base: no file "));
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  tf.model.kv_lora_rnk: [2]\n"),
              HasSubstr(":4: unknown key model.kv_lora_rnk; did you mean model.kv_lora_rank?"));
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  t.model.kv_lora_rank: [2]\n"),
              HasSubstr(":4: t.model.kv_lora_rank: no stage 't'"));
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: [2, 4, 2]\n"),
              HasSubstr(":4: grid.tf.model.kv_lora_rank: 2 is given twice"));
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: []\n"),
              HasSubstr("the list is empty"));
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  tf.seed: [1, 2]\n"), HasSubstr("seeds are no axis"));
  EXPECT_THAT(
      error("seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: [4]\nexclude:\n- {kv_lora_rank: 5}\n"),
      HasSubstr(":6: exclude.kv_lora_rank: 5 is no value of the axis; valid: 4"));
  EXPECT_THAT(error("seeds: [0]\nbaseline: dense\n"), HasSubstr("no cell 'dense'; valid: base"));
  EXPECT_THAT(error("seeds: [0]\ntune: {key: tf.optimizer.lr, values: [1, 2], seeds: [0]}\n"),
              HasSubstr("tune.seeds: 0 is among `seeds` too"));
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: [4]\n"
                    "tune: {key: tf.optimizer.lr, values: [1, 2], seeds: [1], per: []}\n"),
              HasSubstr("kv_lora_rank must be in `per`"));
  EXPECT_THAT(error("seeds: [0]\ntargets: {curve: zero.validation_loss, values: [1]}\n"),
              HasSubstr("stage zero of cell base never measures its validation loss"));
}

TEST_F(SweepFiles, OneKindOfFileIsNotTakenForAnother) {
  const auto said = [](const auto& work) { return testing::message_of<UserError>(work); };
  read("seeds: [0]\n");
  EXPECT_THAT(said([&] { load_pipeline(file_, {}, ""); }), HasSubstr("run it with `vmla sweep"));
  EXPECT_THAT(said([&] { load_config(file_, {}); }), HasSubstr("`vmla sweep --config"));
  EXPECT_THAT(said([&] { read_sweep_file(folder_.path() / "p.yaml", {}); }),
              HasSubstr("by itself: `vmla pipeline --config"));
  EXPECT_THAT(said([&] { read_sweep_file(folder_.path() / "dense.yaml", {}); }),
              HasSubstr("by itself: `vmla train --config"));
}

TEST_F(SweepFiles, ImpossibleCellsAreNamed) {
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: [4, 4096]\n"),
              HasSubstr(":4: model.kv_lora_rank: 4096 is above the width"));
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: [4, 4096]\n"),
              HasSubstr("(cell kv_lora_rank=4096)"));
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  tf.model.kv_lora_rank: [1, 4]\n"),
              HasSubstr("RMSNorm leaves only the sign; use at least 2 (cell kv_lora_rank=1)"));
  // A stage that does not fit the one it starts from.
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  tf.model.num_layers: [2]\n"),
              HasSubstr(":4: stage tf: model.num_layers: 2, but stage zero"));
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  tf.train.threads: [1, 2]\n"),
              HasSubstr("cells threads=1 and threads=2 are the same run"));
  EXPECT_THAT(error("seeds: [0]\ngrid:\n  tf.optimizer.lr: [1e-3, 0.001]\n"),
              HasSubstr("cells lr=1e-3 and lr=0.001 are the same run"));
}

TEST(FolderName, KeepsNamesApart) {
  EXPECT_EQ(folder_name("kv_lora_rank=4,method=svd_weight"), "kv_lora_rank=4,method=svd_weight");
  EXPECT_THAT(folder_name("w=[1, 2]"), StartsWith("w=_1,_2_-"));
  EXPECT_NE(folder_name("w=[1, 2]"), folder_name("w=(1, 2)"));
  EXPECT_THAT(folder_name(std::string(300, 'x')), SizeIs(120));
}

}  // namespace
}  // namespace vmla::trainer
