#include "tools/cairn/commands.h"
