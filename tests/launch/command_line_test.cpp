// The command line: what is parsed into what, and what is said when it is wrong.
#include "launch/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "launch/command_help.h"
#include "model/io/error.h"

namespace vmla::launch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

CommandLine parse(const std::vector<std::string>& words) {
  std::vector<const char*> argv = {"vmla"};
  for (const auto& word : words) argv.push_back(word.c_str());
  return parse_command_line(static_cast<int>(argv.size()), argv.data());
}

template <class T>
T parsed(const std::vector<std::string>& words) {
  return std::get<T>(parse(words).args);
}

std::string error_of(const std::vector<std::string>& words) {
  try {
    parse(words);
  } catch (const UserError& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

TEST(CommandLine, Train) {
  const auto args = parsed<TrainArgs>({"train",
                                       "--config",
                                       "f.yaml",
                                       "--set",
                                       "a.b=[1, 2]",
                                       "--set",
                                       "c=-1",
                                       "--run-dir",
                                       "d",
                                       "--resume",
                                       "never",
                                       "--dry-run",
                                       "--profile",
                                       "3"});
  EXPECT_EQ(args.config, "f.yaml");
  EXPECT_THAT(args.set, ElementsAre("a.b=[1, 2]", "c=-1"));
  EXPECT_EQ(args.run_dir, "d");
  EXPECT_EQ(args.resume, "never");
  EXPECT_TRUE(args.dry_run);
  EXPECT_EQ(args.profile, 3);
  const auto plain = parsed<TrainArgs>({"train", "--config=f.yaml"});
  EXPECT_EQ(plain.resume, "auto");
  EXPECT_FALSE(plain.dry_run);
}

TEST(CommandLine, SetTakesOneValueAnOccurrence) {
  EXPECT_THAT(error_of({"train", "--config", "f", "--set", "a=1", "b=2"}), HasSubstr("b=2"));
}

TEST(CommandLine, Pipeline) {
  const auto args =
      parsed<PipelineArgs>({"pipeline", "--config", "p.yaml", "--set", "s.a=1", "--jobs", "2"});
  EXPECT_EQ(args.config, "p.yaml");
  EXPECT_THAT(args.set, ElementsAre("s.a=1"));
  EXPECT_EQ(args.jobs, 2);
}

TEST(CommandLine, Sample) {
  const auto args = parsed<SampleArgs>({"sample",
                                        "--checkpoint",
                                        "c",
                                        "--prompt",
                                        "a red circle",
                                        "--frames",
                                        "9",
                                        "--out",
                                        "o",
                                        "--seed",
                                        "5",
                                        "--weights",
                                        "raw",
                                        "--sampler",
                                        "euler",
                                        "--steps",
                                        "16",
                                        "--guidance",
                                        "2.5",
                                        "--noise",
                                        "n",
                                        "--save-latents"});
  EXPECT_EQ(args.prompt, "a red circle");
  EXPECT_EQ(args.frames, 9);
  EXPECT_EQ(args.seed, 5);
  EXPECT_EQ(args.weights, "raw");
  EXPECT_EQ(args.sampler, "euler");
  EXPECT_EQ(args.steps, 16);
  EXPECT_EQ(args.guidance, 2.5);
  EXPECT_TRUE(args.save_latents);
  const auto plain = parsed<SampleArgs>(
      {"sample", "--checkpoint", "c", "--prompt", "", "--frames", "9", "--out", "o"});
  EXPECT_EQ(plain.prompt, "");  // the empty prompt is a prompt
  EXPECT_FALSE(plain.steps.has_value());
  EXPECT_EQ(plain.weights, "ema");
}

TEST(CommandLine, SampleStepsWindowAndPromptsOverTime) {
  const auto args = parsed<SampleArgs>({"sample",
                                        "--checkpoint",
                                        "c",
                                        "--out",
                                        "o",
                                        "--prompts-over-time",
                                        "a[2s] | b[3s]",
                                        "--prompt-switch",
                                        "recache",
                                        "--denoising-steps",
                                        "1000,500",
                                        "--first-chunk-denoising-steps",
                                        "1000,750,500,250",
                                        "--local-attn-size",
                                        "-1",
                                        "--sink-size",
                                        "0"});
  EXPECT_EQ(args.frames, 0);  // as long as the prompts last
  EXPECT_EQ(args.prompts_over_time, "a[2s] | b[3s]");
  EXPECT_EQ(args.prompt_switch, "recache");
  EXPECT_THAT(args.denoising_steps, ElementsAre(1000, 500));
  EXPECT_THAT(args.first_chunk_denoising_steps, ElementsAre(1000, 750, 500, 250));
  EXPECT_EQ(args.local_attn_size, -1);
  EXPECT_EQ(args.sink_size, 0);
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
  EXPECT_THAT(error({"--prompt", "a"}), HasSubstr("--frames is required"));
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

TEST(CommandLine, Compare) {
  const auto two = parsed<CompareArgs>({"compare", "a", "b", "--out", "o", "--check"});
  EXPECT_THAT(two.runs, ElementsAre("a", "b"));
  EXPECT_EQ(two.out, "o");
  EXPECT_TRUE(two.check);
  const auto many = parsed<CompareArgs>({"compare", "--make-reference", "ref.json", "a", "b", "c"});
  EXPECT_EQ(many.make_reference, "ref.json");
  EXPECT_THAT(many.runs, ElementsAre("a", "b", "c"));
  EXPECT_THAT(error_of({"compare"}), HasSubstr("runs"));
}

TEST(CommandLine, StepForwardInit) {
  EXPECT_EQ(parsed<StepArgs>({"step", "--config", "f", "--inputs", "i", "--output", "o"}).player,
            "generator");
  const auto forward = parsed<ForwardArgs>({"forward",
                                            "--weights",
                                            "w",
                                            "--set",
                                            "model.eps=1e-5",
                                            "--inputs",
                                            "i",
                                            "--output",
                                            "o",
                                            "--mode",
                                            "chunk_causal",
                                            "--weights-role",
                                            "raw"});
  EXPECT_EQ(forward.mode, "chunk_causal");
  EXPECT_EQ(forward.weights_role, "raw");
  EXPECT_EQ(
      parsed<InitArgs>({"init", "--weights", "w", "--config", "c", "--out", "o", "--data", "d"})
          .data,
      "d");
}

TEST(CommandLine, ConvertExport) {
  EXPECT_EQ(parsed<ConvertArgs>({"convert", "--in", "a", "--out", "b"}).out, "b");
  const auto args = parsed<ExportArgs>(
      {"export", "--checkpoint", "c", "--format", "videomla", "--out", "o", "--dtype", "fp32"});
  EXPECT_EQ(args.format, "videomla");
  EXPECT_EQ(args.dtype, "fp32");
}

TEST(CommandLine, Analyze) {
  EXPECT_EQ(parsed<AnalyzeSpectrumArgs>(
                {"analyze", "spectrum", "--weights", "w", "--map", "m", "--out", "o"})
                .map,
            "m");
  EXPECT_THAT(parsed<AnalyzeRankArgs>(
                  {"analyze", "rank", "--checkpoint", "a", "b", "--checkpoint", "c", "--out", "o"})
                  .checkpoints,
              ElementsAre("a", "b", "c"));
  const auto memory = parsed<AnalyzeMemoryArgs>(
      {"analyze", "memory", "--config", "f", "--gpus", "8", "--gpu-memory", "80", "--json", "j"});
  EXPECT_EQ(memory.gpus, 8);
  EXPECT_EQ(memory.gpu_memory, 80.0);
  EXPECT_EQ(memory.json, "j");
}

TEST(CommandLine, Data) {
  EXPECT_EQ(
      parsed<DataSynthArgs>({"data", "synth", "--out", "d", "--count", "60", "--held-out"}).count,
      60);
  EXPECT_EQ(parsed<DataEncodeArgs>({"data", "encode", "--videos", "v", "--out", "f.h5"}).codec,
            "space_to_depth:2");
  EXPECT_EQ(parsed<DataInspectArgs>({"data", "inspect", "f.h5"}).file, "f.h5");
  const auto ode = parsed<DataOdeArgs>({"data",
                                        "ode",
                                        "--checkpoint",
                                        "c",
                                        "--data",
                                        "d.h5",
                                        "--out",
                                        "o.h5",
                                        "--denoising-steps",
                                        "1000,500"});
  EXPECT_EQ(ode.denoising_steps, (std::vector<double>{1000, 500}));
  EXPECT_EQ(ode.steps, 48);
  EXPECT_FALSE(parsed<DataGenerateArgs>(
                   {"data", "generate", "--weights", "w", "--prompts", "p", "--out", "o.h5"})
                   .frames);
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
        Mistake{{}, "no command given; valid: train, pipeline, sample"},
        Mistake{{"tarin"}, "unknown command 'tarin'; did you mean train? valid: train,"},
        Mistake{{"bake"}, "unknown command 'bake'; valid: train,"},
        Mistake{{"data"},
                "no data command given; valid: synth, encode, prompts, generate, ode, inspect; see "
                "vmla data --help"},
        Mistake{{"data", "enc"}, "unknown command 'data enc'; valid: synth"},
        Mistake{{"analyze", "ranks"}, "did you mean rank? valid: spectrum, rank, memory"},
        Mistake{{"train"}, "train: --config is required; see vmla train --help"},
        Mistake{{"train", "--config", "f", "--run_dir", "d"},
                "train: unknown flag --run_dir; did you mean --run-dir?; see vmla train --help"},
        Mistake{{"train", "--config", "f", "extra"}, "extra"},
        Mistake{{"train", "--config"}, "--config"},
        Mistake{{"train", "--config", "f", "--profile", "0"}, "0 is not an integer of at least 1"},
        Mistake{{"train", "--config", "f", "--profile", "x"}, "x is not an integer of at least 1"},
        Mistake{{"pipeline"}, "pipeline: --config is required"},
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

TEST(CommandLine, EveryCommandHasAnExample) {
  const std::vector<std::string> commands = {"train",
                                             "pipeline",
                                             "sample",
                                             "init",
                                             "step",
                                             "compare",
                                             "forward",
                                             "convert",
                                             "export",
                                             "analyze spectrum",
                                             "analyze rank",
                                             "analyze memory",
                                             "data synth",
                                             "data encode",
                                             "data inspect"};
  for (const auto& command : commands)
    EXPECT_THAT(command_help(command).text, HasSubstr("vmla " + command));
}

}  // namespace
}  // namespace vmla::launch
