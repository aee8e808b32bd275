#pragma once

namespace vmla::launch {

/// Makes standard input, output and errors safe to go on with, whatever happens to them: one that
/// is closed becomes /dev/null, so that no file that is opened later gets its number and with it
/// the lines of the log; and writing to a pipe that nobody reads any more fails instead of ending
/// the program. To be called first in main().
void prepare_standard_streams();

}  // namespace vmla::launch
