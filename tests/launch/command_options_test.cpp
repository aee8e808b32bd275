// What the options of each command are parsed into, and what they are without being given.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include <string>
#include <vector>

#include "tests/launch/parsing.h"

namespace vmla::launch {
namespace {

using ::testing::ElementsAre;

TEST(CommandOptions, Train) {
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

TEST(CommandOptions, Pipeline) {
  const auto args =
      parsed<PipelineArgs>({"pipeline", "--config", "p.yaml", "--set", "s.a=1", "--jobs", "2"});
  EXPECT_EQ(args.config, "p.yaml");
  EXPECT_THAT(args.set, ElementsAre("s.a=1"));
  EXPECT_EQ(args.jobs, 2);
}

TEST(CommandOptions, Sweep) {
  const auto args = parsed<SweepArgs>(
      {"sweep", "--config", "s.yaml", "--set", "s.a=1", "--jobs", "2", "--dry-run"});
  EXPECT_EQ(args.config, "s.yaml");
  EXPECT_THAT(args.set, ElementsAre("s.a=1"));
  EXPECT_EQ(args.jobs, 2);
  EXPECT_TRUE(args.dry_run);
  EXPECT_EQ(args.folder_for("knee"), "runs/knee");
  EXPECT_EQ(parsed<SweepArgs>({"sweep", "--config", "s", "--run-dir", "./d/"}).folder_for("knee"),
            "d");
}

TEST(CommandOptions, Sample) {
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

TEST(CommandOptions, SampleStepsWindowAndPromptsOverTime) {
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

TEST(CommandOptions, Compare) {
  const auto two = parsed<CompareArgs>({"compare", "a", "b", "--out", "o", "--check"});
  EXPECT_THAT(two.runs, ElementsAre("a", "b"));
  EXPECT_EQ(two.out, "o");
  EXPECT_TRUE(two.check_band);
  const auto many = parsed<CompareArgs>({"compare", "--make-reference", "ref.json", "a", "b", "c"});
  EXPECT_EQ(many.make_reference, "ref.json");
  EXPECT_THAT(many.runs, ElementsAre("a", "b", "c"));
}

TEST(CommandOptions, Vae) {
  const auto encode = parsed<VaeEncodeArgs>(
      {"vae", "encode", "--weights", "w", "--input", "i", "--output", "o", "--tile", "256"});
  EXPECT_EQ(encode.weights, "w");
  EXPECT_EQ(encode.tile, 256);
  EXPECT_EQ(encode.device, "cpu");
  EXPECT_EQ(encode.precision, "fp32");
  const auto decode = parsed<VaeDecodeArgs>({"vae",
                                             "decode",
                                             "--weights",
                                             "w",
                                             "--input",
                                             "i",
                                             "--output",
                                             "o",
                                             "--codec",
                                             "taew2_1",
                                             "--precision",
                                             "bf16"});
  EXPECT_EQ(decode.codec, "taew2_1");
  EXPECT_EQ(decode.precision, "bf16");
}

TEST(CommandOptions, StepForwardInit) {
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

TEST(CommandOptions, ConvertExport) {
  EXPECT_EQ(parsed<ConvertArgs>({"convert", "--in", "a", "--out", "b"}).out, "b");
  const auto args = parsed<ExportArgs>(
      {"export", "--checkpoint", "c", "--format", "videomla", "--out", "o", "--dtype", "fp32"});
  EXPECT_EQ(args.format, "videomla");
  EXPECT_EQ(args.dtype, "fp32");
}

TEST(CommandOptions, Analyze) {
  EXPECT_EQ(parsed<AnalyzeSpectrumArgs>(
                {"analyze", "spectrum", "--weights", "w", "--map", "m", "--out", "o"})
                .map,
            "m");
  EXPECT_THAT(parsed<AnalyzeRankArgs>(
                  {"analyze", "rank", "--checkpoint", "a", "b", "--checkpoint", "c", "--out", "o"})
                  .checkpoints,
              ElementsAre("a", "b", "c"));
  const auto init = parsed<AnalyzeInitArgs>({"analyze",
                                             "init",
                                             "--weights",
                                             "w",
                                             "--config",
                                             "f",
                                             "--held-out",
                                             "h",
                                             "--pairs",
                                             "--out",
                                             "o"});
  EXPECT_EQ(init.held_out, "h");
  EXPECT_TRUE(init.pairs);
  EXPECT_FALSE(init.budget);
  const auto memory = parsed<AnalyzeMemoryArgs>(
      {"analyze", "memory", "--config", "f", "--gpus", "8", "--gpu-memory", "80", "--json", "j"});
  EXPECT_EQ(memory.gpus, 8);
  EXPECT_EQ(memory.gpu_memory, 80.0);
  EXPECT_EQ(memory.json, "j");
}

TEST(CommandOptions, Bench) {
  // Without --config it looks for configs/ from the working folder.
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(VMLA_SOURCE_DIR);
  const auto step = parsed<BenchArgs>({"bench", "step"});
  EXPECT_TRUE(step.config_file().ends_with("configs/tiny/teacher_forcing.yaml"));
  EXPECT_FALSE(step.on_cpu_alone());
  const auto rank = parsed<BenchArgs>({"bench", "rank", "--repeats", "3", "--warm-up", "0"});
  EXPECT_TRUE(rank.config_file().ends_with("configs/wan1.3b/teacher_forcing.yaml"));
  EXPECT_TRUE(rank.on_cpu_alone());
  EXPECT_EQ(rank.repeats, 3);
  EXPECT_EQ(rank.warm_up, 0);
  const auto own = parsed<BenchArgs>(
      {"bench", "checkpoint", "--config", "c", "--folder", ".", "--disk-rate", "150"});
  EXPECT_EQ(own.config_file(), "c");
  EXPECT_EQ(own.folder, ".");
  EXPECT_EQ(own.disk_rate, 150);
  std::filesystem::current_path(before);
}

TEST(CommandOptions, Doctor) {
  EXPECT_EQ(parsed<DoctorArgs>({"doctor"}).disk, ".");
  const auto doctor = parsed<DoctorArgs>({"doctor", "--disk", "runs", "--json", "j"});
  EXPECT_EQ(doctor.disk, "runs");
  EXPECT_EQ(doctor.json, "j");
}

TEST(CommandOptions, Data) {
  EXPECT_EQ(
      parsed<DataSynthArgs>({"data", "synth", "--out", "d", "--count", "60", "--held-out"}).count,
      60);
  EXPECT_EQ(parsed<DataEncodeArgs>({"data", "encode", "--videos", "v", "--out", "f.h5"}).codec,
            "space_to_depth:2");
  const auto prompts = parsed<DataPromptsArgs>(
      {"data", "prompts", "--prompts", "p", "--out", "o.h5", "--like", "c.h5", "--overwrite"});
  EXPECT_EQ(prompts.like, "c.h5");
  EXPECT_FALSE(prompts.text);
  EXPECT_TRUE(prompts.overwrite);
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

TEST(CommandOptions, TextEncoders) {
  const std::vector<std::string> words = {"text",
                                          "encode",
                                          "--weights",
                                          "w",
                                          "--tokenizer",
                                          "t",
                                          "--prompts",
                                          "p",
                                          "--output",
                                          "o",
                                          "--precision",
                                          "bf16"};
  const auto text = parsed<TextEncodeArgs>(words);
  EXPECT_EQ(text.precision, "bf16");
  EXPECT_EQ(text.device, "cpu");
  EXPECT_EQ(text.text_len, 512);
  const auto import = parsed<DataImportArgs>({"data",
                                              "import",
                                              "--from",
                                              "lmdb",
                                              "--in",
                                              "i",
                                              "--out",
                                              "o.h5",
                                              "--text-weights",
                                              "w",
                                              "--states",
                                              "0,2"});
  EXPECT_EQ(import.text, "umt5");
  EXPECT_EQ(import.text_weights, "w");
  EXPECT_THAT(import.states, ElementsAre(0, 2));
  EXPECT_NE(error_of({"data", "import", "--from", "csv", "--in", "i", "--out", "o"}).find("--from"),
            std::string::npos);
}

}  // namespace
}  // namespace vmla::launch
