#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "data/store/latent_dataset.h"
#include "model/io/error.h"
#include "tests/data/encode/killed_job.h"
#include "tests/data/encode/shape_videos.h"
#include "tests/support/temporary_folder.h"

namespace vmla::data {
namespace fs = std::filesystem;
namespace {

TEST(EncodeFaults, KilledAndResumedIsUninterruptedByteForByte) {
  const TemporaryFolder folder;
  synth_videos(synth_options(folder / "v", 40));
  write_bytes(folder / "v" / shape_name(3), "broken");
  EncodeOptions options = encode_options(folder / "v", folder / "whole.h5");
  encode_videos(options);
  options.out = folder / "killed.h5";
  options.part_seconds = 0;  // a part a video
  ASSERT_TRUE(kill_after_six_parts(options.out, [&] { encode_videos(options); }));
  {
    EncodeOptions other = options;
    other.frames = 5;
    const std::string text = error_of<UserError>([&] { encode_videos(other); });
    EXPECT_NE(text.find("other inputs or settings"), std::string::npos) << text;
  }
  const EncodeReport report = encode_videos(options);
  EXPECT_GE(report.resumed_videos, 5);
  EXPECT_LT(report.resumed_videos, 40);
  ASSERT_EQ(report.skipped.size(), 1u);
  EXPECT_EQ(report.skipped[0].file, shape_name(3));
  EXPECT_TRUE(file_bytes(folder / "killed.h5") == file_bytes(folder / "whole.h5"));
  EXPECT_TRUE(file_bytes(folder / "killed.skipped.csv") ==
              file_bytes(folder / "whole.skipped.csv"));
  EXPECT_FALSE(fs::exists(folder / "killed.h5.parts"));
}

TEST(EncodeFaults, AFullDiskEndsWithOneLineAndLosesNothing) {
  const TemporaryFolder folder;
  synth_videos(synth_options(folder / "v", 20));
  EncodeOptions options = encode_options(folder / "v", folder / "a.h5");
  options.part_seconds = 0;  // a part a video: less than 100 kB with what is reserved for structure
  options.overwrite = true;
  write_bytes(folder / "a.h5", "what was there before");
  // 150 kB is room for every part and too little for the 280 kB of the whole.
  for (const rlim_t limit : {rlim_t{1000}, rlim_t{150'000}}) {
    const fs::path said = folder / "said";
    const pid_t child = fork();
    if (child == 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit size = {limit, RLIM_INFINITY};
      setrlimit(RLIMIT_FSIZE, &size);
      try {
        encode_videos(options);
        std::exit(0);
      } catch (const RunError& error) {
        write_bytes(said, error.what());
        std::exit(1);  // not _exit: what libraries do at the end of a program is part of the test
      }
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 1);
    const std::string text = file_bytes(said);
    EXPECT_NE(text.find("File too large"), std::string::npos) << text;
    EXPECT_NE(text.find(limit == 1000 ? "part-" : "a.h5:"), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_EQ(file_bytes(folder / "a.h5"), "what was there before");
  }
  const EncodeReport report = encode_videos(options);
  EXPECT_EQ(report.resumed_videos, 20);
  EXPECT_EQ(LatentDataset(folder / "a.h5").size(), 20);
}

}  // namespace
}  // namespace vmla::data
