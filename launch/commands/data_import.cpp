#include "launch/commands/data_import.h"

#include <cmath>

#include "data/import/import_latents.h"
#include "model/io/counted.h"
#include "model/io/error.h"
#include "model/io/exit_status.h"
#include "model/io/log.h"

namespace vmla::launch {

int run(const DataImportArgs& args) {
  data::ImportOptions options;
  options.from = args.from;
  options.in = args.in;
  options.out = args.out;
  options.text = args.text;
  options.text_options = text_encoder_options(args, args);
  options.fps = args.fps;
  for (const double state : args.states) {
    if (state != std::floor(state) || state > 1e6)
      fail_user("data import: --states must be whole numbers");
    options.states.push_back(static_cast<int64_t>(state));
  }
  options.ode_times = args.ode_times;
  options.ode_fp32 = args.dtype == "fp32";
  options.normalize = args.normalize;
  options.overwrite = args.overwrite;
  const data::ImportReport report = data::import_latents(options);
  log::info("{}: {} of {}, {} left out, in {:.1f} s",
            args.out,
            io::counted(report.clips, "clip"),
            io::counted(report.rows, "row"),
            report.skipped.size(),
            report.seconds);
  return kDone;
}

}  // namespace vmla::launch
