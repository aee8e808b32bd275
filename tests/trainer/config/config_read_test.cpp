// Reading and writing configurations: types, origins, suggestions, round trips.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "model/io/error.h"
#include "tests/trainer/config/config_files.h"
#include "trainer/config/config_reference.h"
#include "trainer/config/config_visit.h"
#include "trainer/config/config_yaml.h"

namespace vmla::trainer {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;
using ::testing::StartsWith;
using testing::TemporaryFolder;

const char kMinimal[] =
    "stage: one\n"        // line 1
    "model:\n"            // 2
    "  preset: tiny\n"    // 3
    "  attention: mla\n"  // 4
    "data:\n"             // 5
    "  path: clips.h5\n"  // 6
    "optimizer:\n"        // 7
    "  lr: 1e-3\n";       // 8

TrainConfig load(const std::string& text, const std::vector<std::string>& overrides = {}) {
  ConfigNode root = parse_yaml(text, "x.yaml");
  for (const auto& override : overrides) apply_override(root, override);
  return load_config(root, Purpose::kTrain);
}

std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return message_of<UserError>([&] { load(text, overrides); });
}

TEST(ConfigRead, KeysOverrideDefaultsAndTheRestKeepsThem) {
  const TrainConfig config = load(kMinimal);
  EXPECT_EQ(config.stage, "one");
  EXPECT_EQ(config.optimizer.lr, 1e-3);
  EXPECT_EQ(config.optimizer.weight_decay, OptimizerConfig{}.weight_decay);
  EXPECT_EQ(config.objective.name, "teacher_forcing");
}

TEST(ConfigRead, MicroBatchDefaultsToTheWholeBatch) {
  EXPECT_EQ(load(kMinimal, {"train.batch_size=12"}).train.micro_batch_size, 12);
  EXPECT_EQ(
      load(kMinimal, {"train.batch_size=12", "train.micro_batch_size=3"}).train.micro_batch_size,
      3);
}

TEST(ConfigRead, PresetComesFirstWhereverItStands) {
  const std::string before = "model: {preset: wan14b, num_layers: 2}\ndata: {path: x}\n";
  const std::string after = "model: {num_layers: 2, preset: wan14b}\ndata: {path: x}\n";
  EXPECT_EQ(load(before), load(after));
  EXPECT_EQ(load(after).model.dim, 5120);
  EXPECT_EQ(load(after).model.num_layers, 2);
  EXPECT_EQ(load(after, {"model.preset=wan1.3b"}).model.dim, 1536);
  EXPECT_EQ(load(after, {"model.preset=wan1.3b"}).model.num_layers, 2);
  EXPECT_EQ(error_of("model:\n  preset: wan2\n"),
            "x.yaml:2: model.preset: 'wan2' is unknown; valid: wan1.3b, wan14b, tiny");
}

TEST(ConfigRead, UnknownKeysNamePlaceSuggestionAndChoices) {
  EXPECT_EQ(
      error_of(std::string(kMinimal) + "  lrr: 1\n"),
      "x.yaml:9: unknown key optimizer.lrr; did you mean optimizer.lr? valid: lr, betas, "
      "eps, weight_decay, max_grad_norm, lr_schedule, schedule_steps, warmup_steps, min_lr_ratio");
  // The right name in the wrong section.
  EXPECT_THAT(error_of(std::string(kMinimal) + "kv_lora_rank: 8\n"),
              StartsWith("x.yaml:9: unknown key kv_lora_rank; did you mean model.kv_lora_rank? "
                         "valid: stage, seed"));
  // Nothing near: no suggestion.
  EXPECT_THAT(
      error_of(kMinimal, {"train.zzzzzz=1"}),
      StartsWith("--set train.zzzzzz=1: unknown key train.zzzzzz; valid: steps, batch_size"));
  EXPECT_EQ(error_of(kMinimal, {"distributed.ranks=2"}),
            "--set distributed.ranks=2: unknown key distributed.ranks; valid: backend, sharding, "
            "shard_size, sequence_parallel_size, gradient_accumulation, hold_weights, offload, "
            "timeout_seconds");
}

struct WrongType {
  const char* override;
  const char* expected;
};
class ConfigTypes : public ::testing::TestWithParam<WrongType> {};

TEST_P(ConfigTypes, AreRefusedWithTheValueAndWhatIsValid) {
  const std::string assignment = GetParam().override;
  EXPECT_EQ(error_of(kMinimal, {assignment}), "--set " + assignment + ": " + GetParam().expected);
}

INSTANTIATE_TEST_SUITE_P(
    Each,
    ConfigTypes,
    ::testing::Values(
        WrongType{"train.steps=many", "train.steps: 'many' is not an integer such as 16"},
        WrongType{"train.steps=1.5", "train.steps: '1.5' is not an integer such as 16"},
        WrongType{"train.steps=1e3", "train.steps: '1e3' is not an integer such as 16"},
        WrongType{"train.steps=\"7\"", "train.steps: the text '7' is not an integer such as 16"},
        WrongType{"train.steps=", "train.steps: nothing is not an integer such as 16"},
        WrongType{"train.steps=[1]", "train.steps: a list is not an integer such as 16"},
        WrongType{"train.steps={a: 1}", "train.steps: a section is not an integer such as 16"},
        WrongType{
            "train.steps=9223372036854775808",
            "train.steps: 9223372036854775808 does not fit into 64 bits; use a smaller integer"},
        WrongType{"optimizer.lr=fast", "optimizer.lr: 'fast' is not a number such as 0.5 or 1e-4"},
        WrongType{"optimizer.lr=1e-3x",
                  "optimizer.lr: '1e-3x' is not a number such as 0.5 or 1e-4"},
        WrongType{"optimizer.lr=.inf", "optimizer.lr: .inf is not finite; use a finite number"},
        WrongType{"optimizer.lr=nan", "optimizer.lr: nan is not finite; use a finite number"},
        WrongType{"optimizer.lr=1e400",
                  "optimizer.lr: 1e400 is outside the range of a double; use a number within it"},
        WrongType{"model.bias=yes", "model.bias: 'yes' is not true or false"},
        WrongType{"model.bias=1", "model.bias: '1' is not true or false"},
        WrongType{"stage=[a]", "stage: a list is not text"},
        WrongType{"optimizer.betas=0.9", "optimizer.betas: '0.9' is not a list of 2 numbers"},
        WrongType{"optimizer.betas=[0.9]", "optimizer.betas: a list is not a list of 2 numbers"},
        WrongType{"model.kv_lora_rank=[8, x]",
                  "model.kv_lora_rank: 'x' is not an integer such as 16"},
        WrongType{
            "model.rope_pair_indices=3",
            "model.rope_pair_indices: '3' is not a list of pair indices, or one list per layer"},
        WrongType{"sample.prompts={a: b}",
                  "sample.prompts: a section is not a list of prompts, or the path of a text file "
                  "with one a line"},
        WrongType{"init_from=x", "init_from: 'x' is not a section of role: weights"},
        WrongType{"train=3", "train: '3' is not a section of `key: value` lines"},
        WrongType{"optimizer.lr.x=3", "optimizer.lr at x.yaml:8 is not a section"}));

TEST(ConfigRead, FilesNameTheLineOfAWrongValue) {
  EXPECT_EQ(error_of("train:\n  steps: 5\n  batch_size: x\n"),
            "x.yaml:3: train.batch_size: 'x' is not an integer such as 16");
}

TEST(ConfigRead, DuplicateKeysAreRefused) {
  EXPECT_EQ(error_of("train:\n  steps: 5\n  steps: 6\n"),
            "x.yaml:3: key steps is given twice, first at x.yaml:2; keep one");
}

TEST(ConfigRead, BrokenYamlNamesTheLine) {
  EXPECT_THAT(error_of("train:\n  steps: [1\n"),
              AllOf(StartsWith("x.yaml:"), HasSubstr("not valid yaml")));
  EXPECT_THAT(error_of("a: &x [*x]\n"), StartsWith("x.yaml"));
  EXPECT_THAT(error_of("stage: a\n---\nstage: b\n"), HasSubstr("2 yaml documents"));
  EXPECT_THAT(error_of("- a\n"), HasSubstr("the file: a list is not a section"));
}

TEST(ConfigRead, OverridesUseYamlSyntaxAndTheLastWins) {
  const TrainConfig config = load(kMinimal,
                                  {"optimizer.betas=[0.5, 0.25]",
                                   "train.steps=1",
                                   "train.steps=2",
                                   "sample.prompts=[\"a, b\", c]",
                                   "model.local_attn_size=-1",
                                   "sample.negative_prompt=b=c"});
  EXPECT_EQ(config.optimizer.betas, (std::array<double, 2>{0.5, 0.25}));
  EXPECT_EQ(config.train.steps, 2);
  EXPECT_EQ(config.sample.negative_prompt, "b=c");
  EXPECT_EQ(config.sample.prompts.list, (std::vector<std::string>{"a, b", "c"}));
}

TEST(ConfigRead, OverridesThatAreNoAssignment) {
  EXPECT_EQ(error_of(kMinimal, {"train.steps"}),
            "--set train.steps: is no assignment; write --set section.key=value");
  EXPECT_EQ(error_of(kMinimal, {"=3"}),
            "--set =3: is no assignment; write --set section.key=value");
  EXPECT_THAT(error_of(kMinimal, {"train..steps=3"}), HasSubstr("has an empty part"));
  EXPECT_THAT(error_of(kMinimal, {"train.steps=[1"}),
              StartsWith("--set train.steps=[1: not valid yaml: "));
}

TEST(ConfigRead, WeightsAreAPathOrASource) {
  EXPECT_EQ(load(kMinimal, {"init_from.generator=runs/a"}).init_from.at("generator"),
            (InitSource{"runs/a", "", "", ""}));
  EXPECT_EQ(load(kMinimal, {"init_from.generator={path: runs/a, role: generator}"})
                .init_from.at("generator"),
            (InitSource{"runs/a", "", "generator", ""}));
}

TEST(ConfigRead, PromptsAreAListOrAFile) {
  EXPECT_EQ(load(kMinimal, {"sample.prompts=p.txt"}).sample.prompts.file, "p.txt");
  EXPECT_TRUE(load(kMinimal, {"sample.prompts=[]"}).sample.prompts.empty());
}

TEST(ConfigRead, RanksAndPairsAreSharedOrPerLayer) {
  EXPECT_EQ(load(kMinimal, {"model.kv_lora_rank=[8, 16, 24]"}).model.kv_lora_rank.at(2), 24);
  EXPECT_EQ(
      load(kMinimal, {"model.rope_pair_indices=[0, 4, 6]"}).model.rope_pair_indices.lists.size(),
      1u);
  EXPECT_EQ(load(kMinimal, {"model.rope_pair_indices=[[0, 4, 6], [1, 4, 6], [2, 4, 6]]"})
                .model.rope_pair_indices.lists.size(),
            3u);
}

TEST(ConfigRead, OnlyTheNamedObjectivesSectionMayAppear) {
  EXPECT_EQ(
      error_of("objective:\n  name: teacher_forcing\n  flow_matching:\n    timestep_shift: 3\n"),
      "x.yaml:3: objective.flow_matching: this section does not belong here, objective.name is "
      "teacher_forcing; remove it or choose the other name");
  EXPECT_EQ(error_of("objective: {name: gan}\n"),
            "x.yaml:1: objective.name: 'gan' is unknown; valid: flow_matching, diffusion_forcing, "
            "teacher_forcing, ode_regression, consistency_distillation, dmd");
}

TEST(ConfigRead, EmptySectionsAreDefaults) {
  EXPECT_EQ(load(std::string(kMinimal) + "ema:\ninit_from:\n"), load(kMinimal));
}

// Every value away from its default, with characters that yaml treats specially.
TrainConfig unusual() {
  TrainConfig c;
  c.stage = "s-1";
  c.seed = -7;
  c.init_from["generator"] = {"runs/a b", "first", "generator_ema", ""};
  c.model = model::model_preset("tiny");
  c.model.attention = "mla";
  c.model.kv_lora_rank = {{8, 16, 24}};
  c.model.rope_pair_indices = {{{0, 4, 6}, {1, 4, 6}, {2, 5, 7}}};
  c.model.eps = 0.1 + 0.2;  // 17 digits
  c.model.bias = false;
  c.init.method = "random";
  c.objective.name = "flow_matching";
  c.objective.flow_matching = {1.0 / 3.0, true};
  c.data.path = "null";
  c.data.validation_path = "a: b # c";
  c.data.make.videos = "- x";
  c.data.caption_dropout = 1e-300;
  c.optimizer.lr = std::numeric_limits<double>::denorm_min();
  c.optimizer.betas = {0.9, std::numeric_limits<double>::max()};
  c.train.micro_batch_size = 1;
  c.sample.prompts.list = {
      "", "two\nlines", "tab\t\"quote\" \\ 'x'", "Übung 色", "~", "true", "12", "[a]", "\x01"};
  c.sample.negative_prompt = "色调艳丽，过曝";
  return c;
}

TEST(ConfigWrite, ReadsBackEqual) {
  const TrainConfig config = unusual();
  EXPECT_EQ(parse_resolved(resolved_yaml(config), "resolved"), config);
  EXPECT_EQ(parse_resolved(resolved_yaml(TrainConfig{}), "resolved"), TrainConfig{});
}

TEST(ConfigWrite, LoadDumpLoadIsEqualForAFile) {
  const TrainConfig config = load(kMinimal, {"init_from.generator=x", "sample.prompts=[a]"});
  const TrainConfig again = load(resolved_yaml(config));
  EXPECT_EQ(again, config);
  EXPECT_EQ(resolved_yaml(again), resolved_yaml(config));
}

TEST(ConfigWrite, OnlyTheActiveObjectiveIsWritten) {
  EXPECT_THAT(resolved_yaml(unusual()), HasSubstr("  flow_matching:\n"));
  EXPECT_THAT(resolved_yaml(unusual()), ::testing::Not(HasSubstr("  teacher_forcing:\n")));
}

TEST(ConfigReference, ListsEveryLeafWithDefaultAndMeaning) {
  const std::string text = config_reference();
  EXPECT_THAT(text, HasSubstr("\noptimizer.lr: 5e-06"));
  EXPECT_THAT(text, HasSubstr("\nobjective.dmd.fake_score_optimizer.lr: 4e-07"));
  EXPECT_THAT(text, HasSubstr("objective.teacher_forcing.timestep_shift: 5"));
  EXPECT_THAT(text, HasSubstr("# rank of the shared K/V latent"));
}

TEST(ConfigReference, PageHasEveryLeafOnceInTheTableOfItsSection) {
  const std::string page = config_reference_markdown();
  std::vector<ConfigKey> keys;
  list_keys("", TrainConfig{}, keys);
  for (const ConfigKey& key : keys) {
    const size_t dot = key.key.rfind('.');
    const bool is_section = key.value.empty();
    const std::string row =
        is_section ? formatted("\n{} {}\n\n", dot == std::string::npos ? "##" : "###", key.key)
                   : formatted("\n| `{}` | `", key.key);
    const size_t place = page.find(row);
    ASSERT_NE(place, std::string::npos) << key.key;
    EXPECT_EQ(page.find(row, place + 1), std::string::npos) << key.key << " stands there twice";
    if (is_section || dot == std::string::npos) continue;
    const size_t title = page.rfind("\n#", place);
    EXPECT_EQ(page.substr(page.find(' ', title) + 1, dot), key.key.substr(0, dot));
  }
  EXPECT_THAT(page, HasSubstr("### objective.dmd\n"));
  EXPECT_THAT(page, HasSubstr("| `init_from.ROLE.path` |"));
}

TEST(ConfigSections, CanBeReadOverTheSizesOfGivenWeights) {
  const TemporaryFolder folder;
  const auto file = folder.write("m.yaml", "model:\n  num_frame_per_block: 2\n");
  TrainConfig base;
  base.model = model::model_preset("tiny");
  const TrainConfig config = read_config(file, {"model.sink_size=1"}, base);
  EXPECT_EQ(config.model.dim, 64);
  EXPECT_EQ(config.model.num_frame_per_block, 2);
  EXPECT_EQ(config.model.sink_size, 1);
  EXPECT_EQ(read_config("", {"model.sink_size=1"}, base).model.sink_size, 1);
  EXPECT_THAT(message_of<UserError>([&] { read_config(file, {"model.num_heads=7"}, base); }),
              StartsWith("--set model.num_heads=7: model.num_heads: 7 does not divide"));
  EXPECT_NO_THROW(check_config_syntax(file, {"model.num_heads=7"}));
  EXPECT_THROW(check_config_syntax(file, {"model.heads=7"}), UserError);
}

TEST(ConfigFiles, MissingFileIsNamed) {
  EXPECT_THAT(message_of<UserError>([] { load_config("no/such.yaml", {}); }),
              HasSubstr("no/such.yaml"));
}

}  // namespace
}  // namespace vmla::trainer
