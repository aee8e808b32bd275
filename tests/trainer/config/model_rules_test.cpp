// Rules of the sections model and init, and those between model and data or objective: one broken
// rule at a time in the shipped tiny stages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "model/io/error.h"
#include "tests/trainer/config/config_files.h"
#include "trainer/config/config_yaml.h"

namespace vmla::trainer {
namespace {

using testing::BrokenRule;
using ::testing::HasSubstr;
using testing::message_of;
using ::testing::StartsWith;

const std::filesystem::path kTeacherForcing = testing::shipped_config("tiny/teacher_forcing.yaml");
const std::filesystem::path kPretrain = testing::shipped_config("tiny/pretrain.yaml");

class ModelRules : public ::testing::TestWithParam<BrokenRule> {};

TEST_P(ModelRules, NameKeyValueAndRemedy) {
  testing::expect_refused(kTeacherForcing, GetParam());
}

INSTANTIATE_TEST_SUITE_P(
    Each,
    ModelRules,
    ::testing::Values(
        BrokenRule{"model.attention", "sparse", "'sparse' is unknown; valid: dense, mla"},
        BrokenRule{"model.num_heads", "5", "5 does not divide model.dim (64)"},
        BrokenRule{"model.num_heads",
                   "64",
                   "64 gives heads of 1 channels (model.dim / num_heads); rotary pairs need an "
                   "even number"},
        BrokenRule{"model.num_layers", "0", "0 is too small; use at least 1"},
        BrokenRule{"model.freq_dim",
                   "63",
                   "63 is odd; half of it are cosines, half sines: use an even width"},
        BrokenRule{"model.patch_size",
                   "[2, 2, 2]",
                   "a token spans 2 frames; every frame has its own timestep, so the first entry "
                   "must be 1"},
        BrokenRule{"model.eps", "0", "0 is not positive; Wan uses 1e-6"},
        BrokenRule{"model.kv_lora_rank", "65", "65 is above the width; use at most model.dim (64)"},
        BrokenRule{"model.kv_lora_rank",
                   "[24, 24, 65]",
                   "65 is above the width; use at most model.dim (64)"},
        BrokenRule{"model.kv_lora_rank",
                   "[24, 24]",
                   "2 ranks for 3 layers; give one number, or one per layer"},
        BrokenRule{"model.kv_lora_rank", "0", "0 is too small; use at least 1"},
        BrokenRule{"model.q_lora_rank", "65", "65 is above the width; use at most model.dim (64)"},
        BrokenRule{
            "model.qk_rope_head_dim", "5", "5 is odd; rotation works on pairs: use an even number"},
        BrokenRule{"model.qk_rope_head_dim",
                   "34",
                   "34 is above the dense head of 32 channels (model.dim / num_heads), whose pairs "
                   "it chooses from"},
        BrokenRule{"model.rope_pair_indices",
                   "[0, 4, 8, 12, 14, 16]",
                   "pair 16 is out of range; a head of 32 channels has pairs 0 to 15"},
        BrokenRule{"model.rope_pair_indices",
                   "[0, 4, 8, 12, 14, -1]",
                   "pair -1 is out of range; a head of 32 channels has pairs 0 to 15"},
        BrokenRule{"model.rope_pair_indices",
                   "[0, 4, 4, 8, 12, 14]",
                   "pair 4 appears twice; every pair at most once"},
        BrokenRule{"model.rope_pair_indices",
                   "[0, 4]",
                   "2 pairs, but model.qk_rope_head_dim (12) holds 6"},
        BrokenRule{"model.rope_pair_indices",
                   "[[0, 4, 6], [0, 4, 6]]",
                   "2 lists for 3 layers; give one list, or one per layer"},
        BrokenRule{"model.local_attn_size",
                   "0",
                   "0 is no window; use -1 for all frames, or a number of frames, sink and own "
                   "chunk included"},
        BrokenRule{
            "model.local_attn_size",
            "3",
            "3 counts every attended frame: less model.sink_size (1) it leaves 2 for a chunk of "
            "model.num_frame_per_block (3); use at least 4, or -1 for all frames"},
        BrokenRule{"model.sink_size", "-1", "-1 is too small; use at least 0"},
        BrokenRule{"model.num_frame_per_block",
                   "2",
                   "2 does not divide a clip of 9 latent frames; use a multiple of 2 frames"},
        BrokenRule{"model.qk_nope_head_dim",
                   "8",
                   "8 + qk_rope_head_dim (12) is 20, but svd_weight keeps the dense head of 32 "
                   "channels; use 20"},
        BrokenRule{"model.v_head_dim",
                   "8",
                   "8 differs from the dense head (32), whose values and output projection "
                   "init.method svd_weight keeps"},
        BrokenRule{"model.out_dim",
                   "16",
                   "16 differs from model.in_dim (12); a flow has the latents' channels"},
        BrokenRule{"model.text_dim", "16", "16, but data.make.text hashing:32x8 gives 32"},
        BrokenRule{
            "model.text_len", "4", "4 rows, but data.make.text hashing:32x8 gives up to 8"}));

TEST(ConfigModelRules, AKeyThatIsNotInTheFileIsNamedWithTheFile) {
  const std::string message = message_of<UserError>(
      [] { load_config(kPretrain, {"model.qk_rope_head_dim=6", "init.method=random"}); });
  EXPECT_THAT(
      message,
      StartsWith("--set init.method=random: init.method: random converts to latent attention"));
}

TEST(ConfigModelRules, TheCodecDecidesTheChannels) {
  EXPECT_THAT(
      message_of<UserError>([] { load_config(kPretrain, {"data.make.codec=space_to_depth:4"}); }),
      HasSubstr("model.in_dim: 12 channels, but data.make.codec space_to_depth:4 gives 48"));
}

TEST(ConfigModelRules, ConversionNeedsDenseWeights) {
  const testing::TemporaryFolder folder;
  const auto file = folder.write("x.yaml",
                                 "model: {preset: tiny, attention: mla}\n"
                                 "init: {method: svd_weight}\n"
                                 "data: {path: x}\n");
  EXPECT_EQ(message_of<UserError>([&] { load_config(file, {}); }),
            file.string() +
                ":2: init.method: svd_weight starts from dense weights; name them in "
                "init_from.generator");
  EXPECT_NO_THROW(load_config(file, {"init.method=random"}));
}

TEST(ConfigModelRules, BidirectionalObjectivesTakeNoCausalWindow) {
  for (const char* set :
       {"model.local_attn_size=7", "model.sink_size=1", "model.independent_first_frame=true"}) {
    EXPECT_THAT(message_of<UserError>([&] { load_config(kPretrain, {set}); }),
                HasSubstr("but objective flow_matching is bidirectional"));
  }
}

TEST(ConfigModelRules, IndependentFirstFrameLeavesWholeChunks) {
  EXPECT_THAT(message_of<UserError>(
                  [] { load_config(kTeacherForcing, {"model.independent_first_frame=true"}); }),
              HasSubstr("3 does not divide a clip of 9 latent frames after its first frame; use 1 "
                        "+ a multiple of 3"));
  EXPECT_NO_THROW(
      load_config(kTeacherForcing, {"model.independent_first_frame=true", "data.make.frames=10"}));
}

}  // namespace
}  // namespace vmla::trainer
