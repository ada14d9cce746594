#include "storage/frontier.h"
