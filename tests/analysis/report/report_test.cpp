#include "analysis/report/report.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "analysis/rank/rank_log.h"
#include "analysis/report/report_pipeline.h"
#include "analysis/report/report_sections.h"
#include "analysis/runs/run_reading.h"
#include "data/synth/moving_shapes.h"
#include "data/video/video_writer.h"
#include "model/io/atomic_file.h"

namespace vmla::analysis {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class ReportTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::filesystem::path& file, const std::string& text) const {
    std::filesystem::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text;
  }
  std::string page(const std::string& run = "") const {
    return io::read_text_file(folder_ / run / "report.html");
  }

  // Ends a distilled stage behind `parent`: a critic, long rollouts, ranks after a number of steps.
  void write_student(const std::string& name, const std::string& parent) const {
    const std::filesystem::path folder = name;
    write(folder / "config.yaml",
          "stage: " + name +
              "\nmodel: {attention: mla, kv_lora_rank: 4}\nsample: {sampler: few_step}\n"
              "objective: {name: dmd, dmd: {denoising_step_list: [1000, 750, 500, 250]}}\n"
              "init_from: {generator: {stage: " +
              parent + "}}\n");
    std::string lines;
    for (int step = 1; step <= 80; ++step) {
      lines += "{\"step\":" + std::to_string(step) +
               ",\"loss_fake_score\":0.5,\"grad_norm_fake_score\":" + (step == 70 ? "90" : "1");
      if (step % 5 == 1) lines += ",\"loss\":0.25,\"grad_norm\":1,\"dmd_gradient_norm\":0.125";
      lines += "}\n";
    }
    write(folder / "metrics.jsonl", lines);
    write(
        folder / "summary.json",
        "{\"adherence\":{\"clips\":12,\"colour\":1.0,\"shape\":0.5,\"direction\":0.75},"
        "\"drift\":{\"clips\":12,\"frames\":18,\"window_frames\":9,\"windows\":2,\"seconds\":2.25,"
        "\"score\":2.5,\"shift\":1.75,\"within_band\":false,\"real_score\":0.5,\"motion_share_"
        "last\":0.625,"
        "\"adherence\":{\"colour\":[1,0.5],\"direction\":[1,0.75],\"direction_last\":0.75},"
        "\"figures\":{\"size\":{\"score\":2.5,\"real_score\":0.5,\"by_window\":[0.3,0.2],\"low\":"
        "0.25,\"high\":0.4,\"inside\":false}}}}");
    RankLog ranks("svd_weight");
    LayerRank layer{4, {4, 2, 1, 0.5}, {}};
    layer.effective = effective_rank(layer.spectrum);
    ranks.append(0, {layer});
    ranks.append(80, {layer});
    ranks.write(folder_ / name / "rank.h5");
  }

  // A stage that has ended: everything is there.
  void write_stage(const std::string& name) const {
    write(std::filesystem::path(name) / "config.yaml",
          "stage: tf\nmodel: {attention: mla, kv_lora_rank: 4}\nobjective: {name: "
          "teacher_forcing}\ntrain: {steps: 2}\n");
    write(std::filesystem::path(name) / "metrics.jsonl",
          "{\"step\":1,\"loss\":1.5,\"grad_norm\":2,\"lr\":0.1,\"time_step\":0.2,\"time_forward\":"
          "0.1,"
          "\"validation_loss\":1.25,\"tokens_per_second\":100}\n"
          "{\"step\":2,\"loss\":0.5,\"grad_norm\":1,\"lr\":0.1,\"time_step\":0.2,\"time_forward\":"
          "0.1,"
          "\"validation_loss\":0.75,\"tokens_per_second\":100}\n");
    write(std::filesystem::path(name) / "summary.json",
          "{\"adherence\":{\"clips\":12,\"colour\":0.917,\"shape\":0.5,\"direction\":0.833},"
          "\"retention\":{\"clips\":12,\"identification\":0.8},"
          "\"without_cache\":{\"retention\":{\"clips\":12,\"identification\":0.5}}}");
    RankLog ranks("svd_weight");
    LayerRank layer{4, {4, 2, 1, 0.5}, {}};
    layer.effective = effective_rank(layer.spectrum);
    ranks.set_null({layer});
    ranks.append(0, {layer});
    ranks.append(2, {layer});
    ranks.write(folder_ / name / "rank.h5");

    const data::ClipSpec clip = data::draw_clip(3, 0, false, 9);
    const std::string extension = data::default_video_extension();
    const std::string right = data::caption_of(clip.what);
    const std::filesystem::path samples = folder_ / name / "samples";
    std::filesystem::create_directories(samples / "step_2");
    std::filesystem::create_directories(samples / "step_1");  // older: must not be shown
    data::write_video(
        samples / ("step_2/000" + extension), data::render_clips({clip}, 9, 16)[0], 8);
    data::write_video(
        samples / ("step_2/001" + extension), data::render_clips({clip}, 9, 16)[0], 8);
    write(std::filesystem::path(name) / "samples/step_2/samples.json",
          "[{\"file\":\"000" + extension + "\",\"prompt\":\"" + right +
              "\",\"frames\":9,\"fps\":8},{\"file\":\"001" + extension +
              "\",\"prompt\":\"<b>bold</"
              "b>\",\"frames\":9,\"fps\":8},"
              "{\"file\":\"../../config.yaml\",\"prompt\":\"outside\"}]");
  }
  std::filesystem::path folder_;
};

TEST_F(ReportTest, ShowsEverythingAndLoadsNothing) {
  write_stage("");
  write_run_report(folder_);
  const std::string html = page();
  if (data::default_video_extension() == std::string(".mp4")) {
    EXPECT_THAT(html, HasSubstr("data:video/mp4;base64,"));
    EXPECT_THAT(html, HasSubstr("autoplay loop muted playsinline"));
    EXPECT_THAT(html, HasSubstr("✓ "));
    EXPECT_THAT(html, Not(HasSubstr("✗ ")));
    EXPECT_THAT(html, HasSubstr("&lt;b&gt;bold"));
  } else {  // browsers do not play .y4m
    EXPECT_THAT(html, HasSubstr("2 more in "));
  }
  EXPECT_THAT(html, HasSubstr("91.7 %"));
  EXPECT_THAT(html, HasSubstr("cache zeroed"));
  EXPECT_THAT(html, HasSubstr("fell from 1.25 to 0.75"));
  EXPECT_THAT(html, HasSubstr("random product"));
  EXPECT_THAT(html, Not(HasSubstr("<b>bold")));
  EXPECT_THAT(html, Not(HasSubstr("outside")));
  EXPECT_THAT(html, Not(HasSubstr("What is missing")));
  // Nothing is fetched: the only address is the SVG namespace.
  std::string rest = html;
  const std::string space = "http://www.w3.org/2000/svg";
  for (size_t at = rest.find(space); at != std::string::npos; at = rest.find(space))
    rest.erase(at, space.size());
  EXPECT_THAT(rest, Not(HasSubstr("http:")));
  EXPECT_THAT(rest, Not(HasSubstr("https:")));
  EXPECT_THAT(rest, Not(HasSubstr("<script")));
}

TEST_F(ReportTest, NamesWhatIsMissing) {
  write_run_report(folder_);  // an empty folder
  EXPECT_THAT(page(), HasSubstr("metrics.jsonl is missing"));
  EXPECT_THAT(page(), HasSubstr("No clip was sampled"));
  write("metrics.jsonl", "{\"step\":1,\"loss\":1.0}\n{\"step\":2,\"lo");
  write("rank.h5", "damaged");
  write("summary.json", "{");
  write("config.yaml", "a: [");
  write_run_report(folder_);
  EXPECT_THAT(page(), HasSubstr("1 damaged lines"));
  EXPECT_THAT(page(), HasSubstr("rank.h5: not a readable HDF5 file"));
  EXPECT_THAT(page(), HasSubstr("summary.json is damaged"));
  EXPECT_THAT(page(), HasSubstr("config.yaml cannot be read"));
  EXPECT_THAT(page(), HasSubstr("There was no validation"));
}

TEST_F(ReportTest, AStudentShowsItsPlayersItsHealthAndItsDrift) {
  write_student("", "tf");
  write_run_report(folder_);
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr(">fake_score</text>"));
  EXPECT_THAT(html, HasSubstr("DMD gradient, mean size"));
  EXPECT_THAT(html, HasSubstr("grad_norm_fake_score jumped to 90 at step 70"));
  EXPECT_THAT(html, HasSubstr("Critic lag"));
  EXPECT_THAT(html, HasSubstr("Drift over long videos"));
  EXPECT_THAT(html, HasSubstr("moves by 1.75 half widths"));
  EXPECT_THAT(html, HasSubstr("changes by up to 2.5 times"));
  EXPECT_THAT(html, HasSubstr("real clips</text>"));  // the band's legend
  EXPECT_THAT(html, HasSubstr("step 80"));            // the critic's steps, not the generator's
}

TEST_F(ReportTest, ThePipelineShowsTheLadderAndTheRanksOfAllStages) {
  write_stage("tf");
  write("tf/summary.json",
        "{\"adherence\":{\"clips\":12,\"colour\":1,\"shape\":0.5,\"direction\":1},"
        "\"few_step\":{\"adherence\":{\"clips\":12,\"colour\":0.625,\"shape\":0.5,\"direction\":0."
        "5}}}");
  write("tf/config.yaml",
        "stage: tf\nmodel: {attention: mla}\nobjective: {name: teacher_forcing}\n"
        "sample: {sampler: euler, steps: 16, guidance_scale: 1, also_few_step: [1000, 750, 500, "
        "250]}\n");
  write_student("dmd", "tf");
  write("summary.json", "{\"stages\":{\"tf\":{},\"dmd\":{}}}");
  std::vector<RunContents> stages = {read_run(folder_ / "tf"), read_run(folder_ / "dmd")};
  EXPECT_THAT(stage_lines(stages), ElementsAre(ElementsAre(0, 1)));
  write_pipeline_report(folder_);
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr("The ladder of distillation"));
  EXPECT_THAT(html, HasSubstr("16 passes"));
  EXPECT_THAT(html, HasSubstr("tf, forced to few steps</td><td>4 passes</td><td>62.5 %"));
  EXPECT_THAT(html, HasSubstr(">teacher forcing</text>"));  // marks on the axis of all stages
  EXPECT_THAT(html, HasSubstr(">dmd</text>"));
}

TEST_F(ReportTest, StagesThatNameEachOtherInACircleEnd) {
  write_student("a", "b");
  write_student("b", "a");
  write_student("c", "a");
  std::vector<RunContents> stages;
  for (const char* name : {"a", "b", "c"}) stages.push_back(read_run(folder_ / name));
  EXPECT_EQ(stage_lines(stages).size(), 1u);
}

TEST_F(ReportTest, ComparesTheStagesOfAPipeline) {
  write_stage("svd");
  write_stage("random");
  write("summary.json", "{\"stages\":{\"svd\":{},\"random\":{}}}");
  EXPECT_THAT(stage_names(folder_), ElementsAre("svd", "random"));
  write_pipeline_report(folder_);
  const std::string html = page();
  EXPECT_THAT(html, HasSubstr("href=\"svd/report.html\""));
  EXPECT_THAT(html, HasSubstr("Training loss · teacher forcing"));
  EXPECT_THAT(html, HasSubstr("Spectra at the last step · random"));
}

TEST(SamplingPasses, OfAStudentAreItsOwnUnlessTheFileSaysOtherwise) {
  RunContents run;
  run.config = {{"objective.name", "dmd"},
                {"objective.dmd.denoising_step_list", "[1000, 750, 500, 250]"},
                {"sample.sampler", "auto"},
                {"sample.steps", "50"},
                {"sample.guidance_scale", "3"}};
  EXPECT_EQ(sampling_passes(run), "4 passes");
  run.config["sample.sampler"] = "unipc";
  EXPECT_EQ(sampling_passes(run), "50 × 2 passes");
  run.config["sample.sampler"] = "auto";
  run.config["objective.name"] = "teacher_forcing";
  EXPECT_EQ(sampling_passes(run), "50 × 2 passes");
}

TEST_F(ReportTest, APipelineThatHasNotStartedHasAPageToo) {
  write_pipeline_report(folder_);
  EXPECT_THAT(page(), HasSubstr("No stage has started yet"));
}

}  // namespace
}  // namespace vmla::analysis
