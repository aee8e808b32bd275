// The command line as a whole: what is refused, with which words, and what the help says.
#include "launch/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "tests/launch/parsing.h"

namespace vmla::launch {
namespace {

using ::testing::HasSubstr;

TEST(CommandLine, SetTakesOneValueAnOccurrence) {
  EXPECT_THAT(error_of({"train", "--config", "f", "--set", "a=1", "b=2"}), HasSubstr("b=2"));
}

TEST(CommandLine, SampleRefusesWhatDoesNotFit) {
  const auto error = [](std::vector<std::string> words) {
    std::vector<std::string> all = {"sample", "--checkpoint", "c", "--out", "o"};
    all.insert(all.end(), words.begin(), words.end());
    return error_of(all);
  };
  const std::vector<std::string> one = {"--prompt", "a", "--frames", "9"};
  const auto with = [&](std::vector<std::string> words) {
    words.insert(words.begin(), one.begin(), one.end());
    return error(words);
  };
  EXPECT_THAT(error({"--prompts-over-time", "a[1s] | b"}), HasSubstr("--frames"));
  EXPECT_THAT(error({"--prompts-over-time", "a[1s]", "--prompt", "b"}), HasSubstr("not both"));
  EXPECT_THAT(with({"--prompt-switch", "keep"}), HasSubstr("needs --prompts-over-time"));
  EXPECT_THAT(with({"--denoising-steps", "500,1000"}),
              HasSubstr("--denoising-steps: found 1000 after 500: steps must decrease"));
  EXPECT_THAT(with({"--denoising-steps", "1000,500,500"}), HasSubstr("must decrease"));
  EXPECT_THAT(with({"--denoising-steps", "1001"}), HasSubstr("must lie in (0, 1000]"));
  EXPECT_THAT(with({"--first-chunk-denoising-steps", "1000,x"}), HasSubstr("x is not a number"));
  EXPECT_THAT(with({"--denoising-steps", "1000", "--sampler", "unipc"}),
              HasSubstr("is for --sampler few_step"));
  EXPECT_THAT(with({"--denoising-steps", "1000", "--steps", "1"}), HasSubstr("not both"));
  EXPECT_THAT(with({"--sink-size", "-1"}), HasSubstr("-1 is not an integer of at least 0"));
}

struct Mistake {
  std::vector<std::string> words;
  const char* said;
};
void PrintTo(const Mistake& mistake, std::ostream* out) {
  *out << mistake.said;
}
class Mistakes : public ::testing::TestWithParam<Mistake> {};
TEST_P(Mistakes, AreSaidInOneLine) {
  const std::string message = error_of(GetParam().words);
  EXPECT_THAT(message, HasSubstr(GetParam().said));
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    Each,
    Mistakes,
    ::testing::Values(
        Mistake{{}, "no command given; valid: train, pipeline, sweep, sample"},
        Mistake{{"tarin"}, "unknown command 'tarin'; did you mean train? valid: train,"},
        Mistake{{"quux"}, "unknown command 'quux'; valid: train,"},
        Mistake{{"data"},
                "no data command given; valid: synth, encode, prompts, generate, ode, import, "
                "inspect; see vmla data --help"},
        Mistake{{"data", "enc"}, "unknown command 'data enc'; valid: synth"},
        Mistake{{"analyze", "ranks"}, "did you mean rank? valid: spectrum, rank, init, memory"},
        Mistake{{"train"}, "train: --config is required; see vmla train --help"},
        Mistake{{"train", "--config", "f", "--run_dir", "d"},
                "train: unknown flag --run_dir; did you mean --run-dir?; see vmla train --help"},
        Mistake{{"train", "--config", "f", "extra"}, "extra"},
        Mistake{{"train", "--config"}, "--config"},
        Mistake{{"train", "--config", "f", "--profile", "0"}, "0 is not an integer of at least 1"},
        Mistake{{"train", "--config", "f", "--profile", "x"}, "x is not an integer of at least 1"},
        Mistake{{"pipeline"}, "pipeline: --config is required"},
        Mistake{{"compare"}, "compare: runs is required"},
        Mistake{
            {"forward", "--weights", "w", "--inputs", "i", "--output", "o", "--mode", "causal"},
            "forward: --mode: causal not in {bidirectional,chunk_causal,teacher_forcing,cached}"},
        Mistake{{"sample", "--checkpoint", "c", "--frames", "9", "--out", "o"},
                "sample: give either --prompt TEXT or --prompts FILE"},
        Mistake{{"sample",
                 "--checkpoint",
                 "c",
                 "--frames",
                 "9",
                 "--out",
                 "o",
                 "--prompt",
                 "a",
                 "--prompts",
                 "f"},
                "sample: give either --prompt TEXT or --prompts FILE, not both"},
        Mistake{{"sample",
                 "--checkpoint",
                 "c",
                 "--frames",
                 "9999999999999999999",
                 "--out",
                 "o",
                 "--prompt",
                 "a"},
                "9999999999999999999 is not an integer of at least 1"},
        Mistake{{"sample",
                 "--checkpoint",
                 "c",
                 "--frames",
                 "9",
                 "--out",
                 "o",
                 "--prompt",
                 "a",
                 "--guidance",
                 "much"},
                "sample: --guidance: much is not a number from 0"},
        Mistake{{"export", "--checkpoint", "c", "--out", "o", "--format", "gguf"},
                "export: --format: gguf not in"},
        Mistake{{"data", "synth", "--out", "d", "--count", "-3"},
                "data synth: --count: -3 is not an integer of at least 1"}));

TEST(CommandLine, HelpTeaches) {
  const std::string top = parse({"--help"}).text.value();
  for (const char* word : {"train", "pipeline", "sample", "Exit status"})
    EXPECT_THAT(top, HasSubstr(word));
  const std::string train = parse({"train", "--help"}).text.value();
  for (const char* word : {"--config", "metrics.jsonl", "Examples:", "report.html"})
    EXPECT_THAT(train, HasSubstr(word));
  EXPECT_THAT(parse({"data", "--help"}).text.value(), HasSubstr("inspect"));
  EXPECT_THAT(parse({"data", "encode", "--help"}).text.value(),
              HasSubstr("vmla data encode --videos"));
  EXPECT_EQ(parse({"--version"}).text.value().substr(0, 5), "vmla ");
}

}  // namespace
}  // namespace vmla::launch
